#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/result.h"
#include "control/progress_table.h"

namespace kiln::frontend {
class Bridge;
}

namespace kiln::control {

// How long a reader of progress waits for a build whose Solve is still under way, and a bridge call
// for its bridge.
inline constexpr std::chrono::seconds kStatusWait{6};
inline constexpr std::chrono::seconds kBridgeWait{3};
// What the answer to Solve is ahead of those to bridge calls that waited for it.
inline constexpr std::chrono::milliseconds kAnswerLead{100};
// How long a build's progress can be read after its end, and its ref cannot be used again.
inline constexpr std::chrono::seconds kJobLinger{10};

// One Control.Solve from its first moment to ten seconds after its end.
// Its parts are safe from any thread.
struct LiveJob {
  std::string ref;
  WallTime created;
  std::shared_ptr<ProgressTable> progress;
  CancelSource cancel;
};
using LiveJobPtr = std::shared_ptr<LiveJob>;

// The builds of the daemon by ref. Safe from any thread; callbacks run without its lock, on the
// caller's thread or the loop's.
class JobTable {
 public:
  // Both outlive the table.
  JobTable(TaskQueue& loop, const Clock& clock) : loop_(loop), clock_(clock) {}

  // AlreadyExists "job ID X exists"; after Refuse its reason.
  Result<LiveJobPtr> Add(const std::string& ref);
  // Makes the bridge of a build reachable.
  void SetBridge(const LiveJobPtr& job, std::shared_ptr<frontend::Bridge> bridge);
  // Closes the progress, takes the bridge away, forgets the job after kJobLinger.
  void End(const LiveJobPtr& job);
  // Its Solve is being answered: who waits for its bridge is told after kAnswerLead.
  void Answered(const LiveJobPtr& job);

  // The job, once it is there. NotFound "no such job X" after kStatusWait.
  void WhenPresent(const std::string& ref, std::function<void(Result<LiveJobPtr>)> done);
  // Its bridge, once it is there. NotFound "no such job X" after kBridgeWait, or a moment after
  // Answered: a client that asks while its Solve fails must hear why that failed first.
  void WhenBridge(const std::string& ref,
                  std::function<void(Result<std::shared_ptr<frontend::Bridge>>)> done);

  // Jobs that have not ended.
  std::vector<LiveJobPtr> Active() const;
  bool IsActive(const std::string& ref) const;
  void CancelAll(const Error& reason);
  // From now on Add refuses with this.
  void Refuse(Error reason);
  // Runs `idle` on the loop whenever the last job has been forgotten and freed. Before the first
  // Add.
  void OnIdle(std::function<void()> idle) { idle_ = std::move(idle); }
  // Blocks until no job is active or the time is over; whether none is.
  bool WaitIdle(std::chrono::nanoseconds limit) const;

 private:
  struct Entry {
    LiveJobPtr job;
    std::shared_ptr<frontend::Bridge> bridge;
    bool ended = false;
    bool told = false;  // no bridge comes any more
  };
  struct Waiter {
    std::string ref;
    bool wants_bridge = false;
    uint64_t timer = 0;
    std::function<void(Result<LiveJobPtr>)> done;
  };

  void Wait(const std::string& ref, bool wants_bridge, std::chrono::seconds limit,
            std::function<void(Result<LiveJobPtr>)> done);
  // What a waiter gets now; nullopt: keep waiting.
  std::optional<Result<LiveJobPtr>> AnswerLocked(const Waiter& waiter) const REQUIRES(mutex_);
  // Of this very job; null if its ref has been forgotten.
  Entry* FindLocked(const LiveJobPtr& job) REQUIRES(mutex_);
  void Notify() EXCLUDES(mutex_);
  void Forget(LiveJobPtr job) EXCLUDES(mutex_);

  TaskQueue& loop_;
  const Clock& clock_;
  mutable Mutex mutex_;
  mutable CondVar ended_;
  std::map<std::string, Entry> jobs_ GUARDED_BY(mutex_);
  std::optional<Error> refusal_ GUARDED_BY(mutex_);
  std::map<uint64_t, Waiter> waiters_ GUARDED_BY(mutex_);
  uint64_t next_waiter_ GUARDED_BY(mutex_) = 1;
  std::function<void()> idle_ = [] {};
};

}  // namespace kiln::control
