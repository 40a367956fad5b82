#include "control/status_stream.h"

#include <grpcpp/server_context.h>
#include <moby/buildkit/v1/control.pb.h>

#include "control/progress_table.h"
#include "control/write_stream.h"
#include "history/history.h"
#include "rpc/metadata.h"

namespace kiln::control {
namespace {

using moby::buildkit::v1::StatusResponse;

class StatusStream final : public WriteStream<StatusResponse> {
 public:
  // For a build that runs nothing is looked for on disk.
  StatusStream(const StatusSources& sources, std::string ref)
      : WriteStream(sources.jobs.IsActive(ref) ? nullptr : &sources.blocking),
        sources_(sources),
        ref_(std::move(ref)) {}

 private:
  Result<Step> Next(StatusResponse* batch) override {
    if (!sought_) TRY(Seek());
    if (log_) {
      TRY_ASSIGN(const bool more, log_->Next(batch));
      return more ? Step::kMessage : Step::kEnd;
    }
    if (!reader_) TRY(TakeJob());
    if (!reader_) return Step::kNothingYet;
    switch (reader_->Next(batch)) {
      case ProgressTable::Reader::State::kBatch:
        return Step::kMessage;
      case ProgressTable::Reader::State::kEnd:
        return Step::kEnd;
      case ProgressTable::Reader::State::kNothingYet:
        break;
    }
    return Step::kNothingYet;
  }

  Status Seek() {
    sought_ = true;
    // In this order: a build that begins meanwhile is active before it has a record.
    if (sources_.history.Has(ref_) && !sources_.jobs.IsActive(ref_)) {
      TRY_ASSIGN(history::LogReader log, sources_.history.OpenLog(ref_));
      log_.emplace(std::move(log));
      return OkStatus();
    }
    CallNextOn(nullptr);
    // The table may outlive the stream.
    sources_.jobs.WhenPresent(ref_, [weak = weak_from_this()](Result<LiveJobPtr> job) {
      const auto self = std::static_pointer_cast<StatusStream>(weak.lock());
      if (!self) return;
      {
        MutexLock lock(self->mutex_);
        self->job_ = std::move(job);
      }
      self->Wake();
    });
    return OkStatus();
  }

  Status TakeJob() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!job_) return OkStatus();
    TRY(*job_);
    reader_ = (**job_)->progress->NewReader([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Wake();
    });
    job_.reset();
    return OkStatus();
  }

  const StatusSources sources_;
  const std::string ref_;
  // The producer's.
  bool sought_ = false;
  std::optional<history::LogReader> log_;
  std::shared_ptr<ProgressTable::Reader> reader_;
  Mutex mutex_;
  std::optional<Result<LiveJobPtr>> job_ GUARDED_BY(mutex_);
};

}  // namespace

void AddTimestamp(const Clock& clock, grpc::CallbackServerContext* context) {
  context->AddInitialMetadata(rpc::kTimestampKey, FormatRfc3339(clock.Now()));
}

grpc::ServerWriteReactor<StatusResponse>* ServeStatus(const StatusSources& sources,
                                                      const std::string& ref) {
  return StatusStream::Serve(std::make_shared<StatusStream>(sources, ref));
}

}  // namespace kiln::control
