#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "solver/fault_plan.h"
#include "solver/op.h"

namespace kiln::solver {

// Locks and slots. A request takes its locks in name order, then its slot, waiting for each in
// turn, and is told when it has all. Locks go to who came first. Slots go to builds in turn, and
// within one build to who came first: a build whose requests hold theirs for long, since its client
// or registry is slow, leaves the others theirs. Loop thread only.
class Resources {
 public:
  using Ticket = uint64_t;
  using Slots = std::array<int, kSlotKinds>;

  // `slots` are those of all builds together; `of_one_build` what one may have of them, 0 for no
  // limit of its own.
  Resources(const Slots& slots, const Slots& of_one_build, const FaultPlan& faults)
      : limits_(slots), build_limits_(of_one_build), faults_(faults) {}

  // `granted` is called once, possibly at once, unless the ticket is released before. `build` is
  // charged for the slot.
  Ticket Request(RunNeeds needs, uint64_t build, std::function<void()> granted);
  // Gives back what the ticket holds and stands in line for.
  void Release(Ticket ticket);
  // A fault of tests: forget the ticket but keep its slot.
  void LeakSlot(Ticket ticket);

  size_t slots_in_use() const;
  int slots_in_use(SlotKind kind) const { return slots_[static_cast<size_t>(kind)].in_use; }
  size_t locks_held() const { return locks_.size(); }
  size_t tickets() const { return requests_.size(); }

 private:
  struct RequestState {
    std::vector<std::string> locks;
    size_t locks_taken = 0;
    SlotKind slot = SlotKind::kNone;
    uint64_t build = 0;
    bool has_slot = false;
    std::function<void()> granted;
  };
  struct Lock {
    Ticket holder = 0;
    std::deque<Ticket> line;
  };

  struct Share {
    int in_use = 0;
    std::deque<Ticket> line;
  };
  // The slots of one kind.
  struct Pool {
    int in_use = 0;
    uint64_t served_last = 0;
    std::map<uint64_t, Share> builds;  // that have or wait for some
  };

  // Takes the next things in order until one must be waited for.
  void Advance(Ticket ticket);
  void FreeLock(const std::string& name, Ticket ticket);
  bool MayTake(SlotKind kind, const Share& share) const;
  // Whether the request has a slot now; it stands in line otherwise.
  bool TakeSlot(Ticket ticket, RequestState& request);
  void FreeSlot(SlotKind kind, uint64_t build);
  void LeaveLine(const RequestState& request, Ticket ticket);

  const Slots limits_;
  const Slots build_limits_;
  const FaultPlan& faults_;
  std::array<Pool, kSlotKinds> slots_;
  std::map<std::string, Lock> locks_;
  std::map<Ticket, RequestState> requests_;
  Ticket next_ = 1;
};

}  // namespace kiln::solver
