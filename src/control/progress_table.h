#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "control/log_chunk.h"
#include "progress/log_keeper.h"
#include "progress/progress.h"

namespace moby::buildkit::v1 {
class StatusResponse;
}

namespace kiln::control {

// The progress of one build, for any number of readers, each of which gets everything from the
// start. Updates of one vertex run or status coalesce until a reader comes; warnings never do, and
// pieces of a log are joined where they came close together. Safe from any thread.
//
// What the table sees to: inputs that never ran show as cached when their dependent starts;
// statuses complete before or with their vertex and never lack `started`; `completed` never comes
// without `started`; at the end nothing is left open.
//
// What it holds grows with what clients are shown of a build, not with what its steps write: what
// is for the keeper alone is freed once it was taken.
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
  // was nothing; once or so even after the reader has gone.
  std::shared_ptr<Reader> NewReader(std::function<void()> wake);
  // The one reader that gets what is kept and not what is shown alone. `flush` must make it read
  // before it returns, from any thread; it may block.
  std::shared_ptr<Reader> NewKeeper(std::function<void()> wake, std::function<void()> flush);

 private:
  using Wakers = std::vector<std::function<void()>>;
  enum class State { kBatch, kNothingYet, kEnd };
  // The newest state of one vertex run or one status.
  struct Entity {
    uint64_t seq = 0;
    std::optional<progress::Vertex> vertex;
    std::optional<progress::VertexStatus> status;
  };
  using EntityIter = std::list<Entity>::iterator;
  struct Warning {
    uint64_t seq = 0;
    progress::VertexWarning warning;
  };
  struct VertexState {
    bool announced = false;
    uint32_t changes = 0;                                // of the vertex itself
    std::map<std::optional<WallTime>, EntityIter> runs;  // by `started`
    std::optional<WallTime> current;                     // the run that was updated last
    bool ever_cached = false;
    std::map<std::string, EntityIter> statuses;
    uint64_t shown = 0;             // the last piece of its log that all get
    LogChunk* kept_last = nullptr;  // the last of `kept_` that is its
  };
  // How far a reader has come.
  struct Place {
    std::function<void()> wake;
    bool keeper = false;
    bool waiting = false;
    uint64_t cursor = 0;
  };
  using PlaceIter = std::list<Place>::iterator;

  void PutVertexLocked(const progress::Vertex& vertex) REQUIRES(mutex_);
  void PutStatusLocked(progress::VertexStatus status) REQUIRES(mutex_);
  void CompleteInputsLocked(const progress::Vertex& vertex) REQUIRES(mutex_);
  void CompleteStatusesLocked(VertexState& state, WallTime at) REQUIRES(mutex_);
  void TouchLocked(EntityIter entity) REQUIRES(mutex_);
  void ShowLocked(const progress::VertexLog& log, LogChunk::For who) REQUIRES(mutex_);
  void KeepLocked(const progress::VertexLog& log) REQUIRES(mutex_);
  void JoinShownLocked() REQUIRES(mutex_);
  Wakers TakeWakersLocked() REQUIRES(mutex_);

  std::shared_ptr<Reader> Add(Place place) EXCLUDES(mutex_);
  void Remove(PlaceIter place) EXCLUDES(mutex_);
  State Next(Place& place, moby::buildkit::v1::StatusResponse* batch) EXCLUDES(mutex_);
  size_t FillLocked(Place& place, moby::buildkit::v1::StatusResponse* batch) REQUIRES(mutex_);
  size_t TakeKeptLocked(moby::buildkit::v1::StatusResponse* batch) REQUIRES(mutex_);
  void StopKeeping() EXCLUDES(mutex_);

  const Clock& clock_;
  mutable Mutex mutex_;
  uint64_t seq_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
  std::list<Entity> entities_ GUARDED_BY(mutex_);    // by seq, newest last
  std::deque<Warning> warnings_ GUARDED_BY(mutex_);  // by seq
  ShownLog shown_ GUARDED_BY(mutex_);
  std::deque<LogChunk> kept_ GUARDED_BY(mutex_);  // for the keeper alone, by `first`
  size_t kept_bytes_ GUARDED_BY(mutex_) = 0;
  std::function<void()> flush_ GUARDED_BY(mutex_);  // none: nothing is kept
  std::unordered_map<Digest, VertexState> vertices_ GUARDED_BY(mutex_);
  std::list<Place> places_ GUARDED_BY(mutex_);
};

// One client's view of a ProgressTable. Used by one thread at a time.
class ProgressTable::Reader {
 public:
  using State = ProgressTable::State;

  ~Reader() { table_->Remove(place_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Fills `batch` (cleared first) with what changed since the last call, about 1 MiB at most.
  State Next(moby::buildkit::v1::StatusResponse* batch) { return table_->Next(*place_, batch); }
  // The keeper's: has no room for what is kept beyond what is shown.
  void StopKeeping() { table_->StopKeeping(); }

 private:
  friend class ProgressTable;
  Reader(std::shared_ptr<ProgressTable> table, PlaceIter place)
      : table_(std::move(table)), place_(place) {}

  const std::shared_ptr<ProgressTable> table_;
  const PlaceIter place_;
};

}  // namespace kiln::control
