#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

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

  // With `backlog_bytes` == 0 nothing is kept.
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
  void Replay(const Target& target, Seen seen);
  void AddToBacklog(const progress::VertexLog& log);
  template <typename Event>
  void Forward(const Event& event, void (progress::Sink::*method)(const Event&));

  const size_t backlog_bytes_;
  const FaultPlan& faults_;
  mutable std::mutex mutex_;
  std::vector<Target> targets_;
  std::vector<std::string> sessions_;
  std::optional<WallTime> started_;
  bool finished_ = false;
  std::vector<progress::Vertex> vertices_;  // sub-vertices, by digest
  std::vector<progress::VertexStatus> statuses_;
  std::deque<progress::VertexLog> logs_;
  uint64_t logs_dropped_ = 0;
  std::map<std::pair<uint64_t, Digest>, Seen> left_;
  std::vector<progress::VertexWarning> warnings_;
  size_t log_bytes_ = 0;
};

}  // namespace kiln::solver
