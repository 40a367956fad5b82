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

// Locks and slots. A request takes its locks in name order, then its slot, waiting for each in turn
// (first come, first served), and is told when it has all. Loop thread only.
class Resources {
 public:
  using Ticket = uint64_t;

  Resources(std::array<int, kSlotKinds> slots, const FaultPlan& faults)
      : limits_(slots), faults_(faults) {}

  // `granted` is called once, possibly at once, unless the ticket is released before.
  Ticket Request(RunNeeds needs, std::function<void()> granted);
  // Gives back what the ticket holds and stands in line for.
  void Release(Ticket ticket);
  // A fault of tests: forget the ticket but keep its slot.
  void LeakSlot(Ticket ticket);

  size_t slots_in_use() const;
  int slots_in_use(SlotKind kind) const { return in_use_[static_cast<size_t>(kind)]; }
  size_t locks_held() const { return locks_.size(); }
  size_t tickets() const { return requests_.size(); }

 private:
  struct RequestState {
    std::vector<std::string> locks;
    size_t locks_taken = 0;
    SlotKind slot = SlotKind::kNone;
    bool has_slot = false;
    std::function<void()> granted;
  };
  struct Lock {
    Ticket holder = 0;
    std::deque<Ticket> line;
  };

  // Takes the next things in order until one must be waited for.
  void Advance(Ticket ticket);
  void FreeLock(const std::string& name, Ticket ticket);
  void FreeSlot(SlotKind kind);

  std::array<int, kSlotKinds> limits_;
  const FaultPlan& faults_;
  std::array<int, kSlotKinds> in_use_{};
  std::array<std::deque<Ticket>, kSlotKinds> slot_lines_;
  std::map<std::string, Lock> locks_;
  std::map<Ticket, RequestState> requests_;
  Ticket next_ = 1;
};

}  // namespace kiln::solver
