#pragma once

#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/pool.h"
#include "control/job_table.h"
#include "exporter/exporter.h"
#include "history/history.h"

namespace kiln::control {

// What a build leaves behind for its record, as far as it came.
struct BuildOutcome {
  std::map<std::string, std::string> metadata;        // of the result
  std::map<int64_t, exporter::ExportedImage> images;  // by exporter
};

// Writes one build into the history: its record, and its progress as it comes. What cannot be
// written is logged and fails no build.
class Recorder final : public std::enable_shared_from_this<Recorder> {
 public:
  // Everything outlives the recorders that have not been completed.
  struct Parts {
    history::History* history = nullptr;
    store::Store* store = nullptr;
    TaskQueue* timers = nullptr;
    WorkerPool* blocking = nullptr;
    const Clock* clock = nullptr;
  };

  // Null if the build is not to be recorded. May block.
  static std::shared_ptr<Recorder> Begin(const Parts& parts, const LiveJobPtr& job,
                                         const moby::buildkit::v1::SolveRequest& request);
  // After the job's end, before its answer: the record is complete when this returns.
  void Complete(const Status& solved, const BuildOutcome& made);

  // In whose name the store keeps the documents of images that a build's record names.
  static std::string PinOwner(const std::string& ref) { return "history/" + ref; }

 private:
  Recorder(const Parts& parts, LiveJobPtr job, history::Record record, history::LogWriter log)
      : parts_(parts), job_(std::move(job)), record_(std::move(record)), log_(std::move(log)) {}

  // On whatever thread reports progress, or the timers': never waits for the disk.
  void Wake() EXCLUDES(done_mutex_);
  void Flush() EXCLUDES(mutex_);
  void DrainLocked() REQUIRES(mutex_);
  void TrimLocked(moby::buildkit::v1::StatusResponse* batch) REQUIRES(mutex_);
  void DescribeLocked(const Status& solved, const BuildOutcome& made) REQUIRES(mutex_);
  void NameImagesLocked(const BuildOutcome& made) REQUIRES(mutex_);

  const Parts parts_;
  const LiveJobPtr job_;
  // Held while the log is written.
  Mutex mutex_ ACQUIRED_BEFORE(done_mutex_);
  history::Record record_ GUARDED_BY(mutex_);
  std::optional<history::LogWriter> log_ GUARDED_BY(mutex_);  // none once writing has failed
  std::shared_ptr<ProgressTable::Reader> reader_ GUARDED_BY(mutex_);
  bool full_ GUARDED_BY(mutex_) = false;
  // Nothing of `parts_` is used once this is true.
  Mutex done_mutex_;
  bool done_ GUARDED_BY(done_mutex_) = false;
};

}  // namespace kiln::control
