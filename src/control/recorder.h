#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/loop.h"
#include "base/pool.h"
#include "control/job_table.h"
#include "history/history.h"

namespace kiln::control {

// Writes one build into the history: its record, and its progress as it comes. What cannot be
// written is logged and fails no build.
class Recorder final : public std::enable_shared_from_this<Recorder> {
 public:
  // Everything outlives the recorders that have not been completed.
  struct Parts {
    history::History* history = nullptr;
    TaskQueue* timers = nullptr;
    WorkerPool* blocking = nullptr;
    const Clock* clock = nullptr;
  };

  // Null if the build is not to be recorded. May block.
  static std::shared_ptr<Recorder> Begin(const Parts& parts, const LiveJobPtr& job,
                                         const moby::buildkit::v1::SolveRequest& request);
  // After the job's end, before its answer: the record is complete when this returns.
  void Complete(const Status& solved, const moby::buildkit::v1::SolveResponse& response);

 private:
  Recorder(const Parts& parts, LiveJobPtr job, history::Record record, history::LogWriter log)
      : parts_(parts), job_(std::move(job)), record_(std::move(record)), log_(std::move(log)) {}

  void Wake();
  void DrainLocked();
  void TrimLocked(moby::buildkit::v1::StatusResponse* batch);

  const Parts parts_;
  const LiveJobPtr job_;
  std::mutex mutex_;
  history::Record record_;
  std::optional<history::LogWriter> log_;  // none once writing has failed
  std::shared_ptr<ProgressTable::Reader> reader_;
  bool full_ = false;
  bool done_ = false;
};

}  // namespace kiln::control
