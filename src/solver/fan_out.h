#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "progress/activity.h"
#include "progress/log_keeper.h"
#include "progress/progress.h"
#include "solver/events.h"

namespace kiln::solver {

struct FaultPlan;

// Where the events of one piece of work (a run, a key map, …) go: to every build that wants it,
// under each one's own vertex digest. Also the work's live session group. Who joins late is sent
// the start and what was kept of the rest. Set, Start and Finish are called on the loop; the rest
// from any thread.
class FanOut final : public progress::Sink,
                     public progress::LogKeeper,
                     public progress::SessionGroup {
 public:
  // One vertex in one build.
  struct Target {
    uint64_t job = 0;
    Digest vertex;
    std::shared_ptr<JobEvents> events;
    bool operator==(const Target& other) const {
      return job == other.job && vertex == other.vertex;
    }
  };

  // So much memory is taken at most by what is kept of output, and by what is kept of the rest.
  // Where that is full, older output goes, and the rest is not kept. With 0 nothing is.
  FanOut(size_t backlog_bytes, const FaultPlan& faults)
      : backlog_bytes_(backlog_bytes), faults_(faults) {}

  // Who wants the work now. Newcomers to started work are sent its start and backlog; those who
  // left are sent its completion as cancelled.
  void Set(std::vector<Target> targets, std::vector<std::string> sessions, WallTime now);
  // The work is visible as a started vertex from now on.
  void Start(WallTime now);
  // The same for work that was to stay invisible and may have been started nevertheless.
  void Show(WallTime now);
  void Finish(WallTime now, const std::string& error, bool cached = false);

  std::vector<std::string> SessionIds() const override;
  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus& status) override;
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning& warning) override;
  // Not kept for who joins late.
  void OnKeptLog(const progress::VertexLog& log) override;
  void OnShownLog(const progress::VertexLog& log) override;

 private:
  // What a target that left and comes back has seen already.
  struct Seen {
    uint64_t logs = 0;
    size_t warnings = 0;
  };
  void Replay(const Target& target, Seen seen) REQUIRES(mutex_);
  void AddToBacklog(const progress::VertexLog& log) REQUIRES(mutex_);
  template <typename Event, typename IsSame>
  void Keep(std::vector<Event>* kept, const Event& event, const IsSame& same) REQUIRES(mutex_);
  template <typename Event>
  void Forward(const Event& event, void (progress::Sink::*method)(const Event&)) REQUIRES(mutex_);

  const size_t backlog_bytes_;
  const FaultPlan& faults_;
  mutable Mutex mutex_;
  std::vector<Target> targets_ GUARDED_BY(mutex_);
  std::vector<std::string> sessions_ GUARDED_BY(mutex_);
  std::optional<WallTime> started_ GUARDED_BY(mutex_);
  bool finished_ GUARDED_BY(mutex_) = false;
  std::vector<progress::Vertex> vertices_ GUARDED_BY(mutex_);  // sub-vertices, by digest
  std::vector<progress::VertexStatus> statuses_ GUARDED_BY(mutex_);
  std::deque<progress::VertexLog> logs_ GUARDED_BY(mutex_);
  uint64_t logs_dropped_ GUARDED_BY(mutex_) = 0;
  std::map<std::pair<uint64_t, Digest>, Seen> left_ GUARDED_BY(mutex_);
  std::vector<progress::VertexWarning> warnings_ GUARDED_BY(mutex_);
  size_t log_bytes_ GUARDED_BY(mutex_) = 0;
  size_t kept_bytes_ GUARDED_BY(mutex_) = 0;  // of vertices, statuses and warnings
};

}  // namespace kiln::solver
