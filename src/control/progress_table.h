#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "progress/log_keeper.h"
#include "progress/progress.h"

namespace moby::buildkit::v1 {
class StatusResponse;
}

namespace kiln::control {

// The progress of one build, for any number of readers, each of which gets everything from the
// start. Updates of one vertex run or status coalesce until a reader comes; logs and warnings never
// do. Safe from any thread.
//
// What the table sees to (wire-control-session §3.2, §3.3): inputs that never ran show as cached
// when their dependent starts; statuses complete before or with their vertex and never lack
// `started`; `completed` never comes without `started`; at the end nothing is left open.
class ProgressTable final : public progress::Sink,
                            public progress::LogKeeper,
                            public std::enable_shared_from_this<ProgressTable> {
 public:
  class Reader;

  struct Counts {
    int total = 0;
    int cached = 0;
    int completed = 0;
    int warnings = 0;
  };

  explicit ProgressTable(const Clock& clock) : clock_(clock) {}

  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus& status) override;
  void OnLog(const progress::VertexLog& log) override;
  void OnWarning(const progress::VertexWarning& warning) override;
  // Goes to the keeper alone, who is made to read when much of it waits.
  void OnKeptLog(const progress::VertexLog& log) override;
  void OnShownLog(const progress::VertexLog& log) override;

  // Completes what is open (cancelled) and ends all readers once they have everything. Later events
  // are dropped.
  void Close();
  bool closed() const;
  Counts counts() const;

  // `wake` is called, from any thread, when there may be something to read after Next said there
  // was nothing.
  std::shared_ptr<Reader> NewReader(std::function<void()> wake);
  // The one reader that gets what is kept and not what is shown alone. `flush` must make it read
  // before it returns, from any thread; it may block.
  std::shared_ptr<Reader> NewKeeper(std::function<void()> wake, std::function<void()> flush);

 private:
  enum class For { kAll, kKeeper, kOthers };
  // The newest state of one vertex run or one status.
  struct Entity {
    uint64_t seq = 0;
    std::optional<progress::Vertex> vertex;
    std::optional<progress::VertexStatus> status;
  };
  using EntityIter = std::list<Entity>::iterator;
  // A log piece or a warning.
  struct Event {
    uint64_t seq = 0;
    For who = For::kAll;
    std::optional<progress::VertexLog> log;
    std::optional<progress::VertexWarning> warning;
  };
  struct VertexState {
    bool announced = false;
    std::map<std::optional<WallTime>, EntityIter> runs;  // by `started`
    std::optional<WallTime> current;                     // the run that was updated last
    bool ever_cached = false;
    std::map<std::string, EntityIter> statuses;
  };

  void PutVertexLocked(const progress::Vertex& vertex);
  void PutStatusLocked(progress::VertexStatus status);
  void CompleteInputsLocked(const progress::Vertex& vertex);
  void CompleteStatusesLocked(VertexState& state, WallTime at);
  void TouchLocked(EntityIter entity);
  std::vector<std::function<void()>> TakeWakersLocked();
  void Wake(std::unique_lock<std::mutex> lock);

  const Clock& clock_;
  mutable std::mutex mutex_;
  uint64_t seq_ = 0;
  bool closed_ = false;
  std::list<Entity> entities_;  // by seq, newest last
  std::deque<Event> events_;    // by seq
  std::unordered_map<Digest, VertexState> vertices_;
  int warnings_ = 0;
  size_t kept_waiting_ = 0;      // bytes that the keeper has not read
  std::function<void()> flush_;  // none: there is no keeper
  std::vector<std::weak_ptr<Reader>> readers_;
};

// One client's view of a ProgressTable. Used by one thread at a time.
class ProgressTable::Reader {
 public:
  enum class State { kBatch, kNothingYet, kEnd };

  Reader(std::shared_ptr<ProgressTable> table, std::function<void()> wake, bool keeper)
      : table_(std::move(table)), wake_(std::move(wake)), keeper_(keeper) {}

  // Fills `batch` (cleared first) with what changed since the last call, about 1 MiB at most.
  State Next(moby::buildkit::v1::StatusResponse* batch);

 private:
  friend class ProgressTable;
  size_t AddEvent(Event& event, moby::buildkit::v1::StatusResponse* batch);

  const std::shared_ptr<ProgressTable> table_;
  const std::function<void()> wake_;
  const bool keeper_;
  // Under the table's lock.
  uint64_t cursor_ = 0;
  size_t next_event_ = 0;
  mutable bool waiting_ = false;
};

}  // namespace kiln::control
