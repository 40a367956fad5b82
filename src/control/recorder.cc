#include "control/recorder.h"

#include <google/rpc/status.pb.h>
#include <moby/buildkit/v1/control.pb.h>

#include "api/timestamp.h"
#include "base/log.h"
#include "base/strings.h"
#include "rpc/status.h"
#include "store/store.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;

// What comes within this time is written together.
constexpr std::chrono::milliseconds kInterval{200};
constexpr int64_t kMaxLogBytes = 200'000'000;

history::Record RecordOf(const LiveJobPtr& job, const pb::SolveRequest& request) {
  history::Record record;
  record.set_ref(job->ref);
  record.set_frontend(request.frontend());
  *record.mutable_frontendattrs() = request.frontendattrs();
  *record.mutable_exporters() = request.exporters();
  api::ToProto(job->created, record.mutable_createdat());
  return record;
}

}  // namespace

std::shared_ptr<Recorder> Recorder::Begin(const Parts& parts, const LiveJobPtr& job,
                                          const pb::SolveRequest& request) {
  if (request.internal() || !parts.history->retention().record) return nullptr;
  history::Record record = RecordOf(job, request);
  Result<history::LogWriter> log = parts.history->Begin(record);
  if (!log.ok()) {
    LOG_WARNING("build {} is not recorded: {}", job->ref, log.error());
    return nullptr;
  }
  std::shared_ptr<Recorder> made(new Recorder(parts, job, std::move(record), *std::move(log)));
  MutexLock lock(made->mutex_);
  made->reader_ = job->progress->NewKeeper(
      [weak = made->weak_from_this()] {
        if (const auto self = weak.lock()) self->Wake();
      },
      [weak = made->weak_from_this()] {
        if (const auto self = weak.lock()) self->Flush();
      });
  made->DrainLocked();
  return made;
}

void Recorder::Wake() {
  MutexLock lock(done_mutex_);
  if (done_) return;
  parts_.timers->PostAfter(kInterval, [self = shared_from_this()] {
    MutexLock timer_lock(self->done_mutex_);
    if (!self->done_) self->parts_.blocking->Submit([self] { self->Flush(); });
  });
}

void Recorder::Flush() {
  MutexLock lock(mutex_);
  if (reader_) DrainLocked();
}

void Recorder::DrainLocked() {
  pb::StatusResponse batch;
  while (reader_->Next(&batch) == ProgressTable::Reader::State::kBatch) {
    if (!log_) continue;
    TrimLocked(&batch);
    const Status written = log_->Append(batch);
    if (written.ok()) continue;
    LOG_WARNING("the log of build {} is cut short: {}", job_->ref, written.error());
    log_.reset();
    reader_->StopKeeping();
  }
}

// A step that writes without end does not fill the disk.
void Recorder::TrimLocked(pb::StatusResponse* batch) {
  if (log_->size() < kMaxLogBytes) return;
  if (!full_ && batch->logs_size() > 0) {
    full_ = true;
    reader_->StopKeeping();
    batch->mutable_logs()->DeleteSubrange(1, batch->logs_size() - 1);
    batch->mutable_logs(0)->set_msg(fmt::format(
        "\n[no more is kept of this build's output than {}]\n", HumanBytes(kMaxLogBytes)));
  } else if (full_) {
    batch->clear_logs();
  }
}

void Recorder::Complete(const Status& solved, const BuildOutcome& made) {
  std::string external;
  if (!solved.ok()) {
    google::rpc::Status error;
    rpc::ToProto(solved.error(), &error);
    external = error.SerializeAsString();
  }
  MutexLock lock(mutex_);
  DrainLocked();
  reader_.reset();
  DescribeLocked(solved, made);
  NameImagesLocked(made);
  const Status written = parts_.history->Complete(std::move(record_), external);
  if (!written.ok()) LOG_WARNING("the record of build {}: {}", job_->ref, written.error());
  parts_.blocking->Submit([history = parts_.history] { history->Collect(); });
  MutexLock done(done_mutex_);
  done_ = true;
}

void Recorder::DescribeLocked(const Status& solved, const BuildOutcome& made) {
  api::ToProto(parts_.clock->Now(), record_.mutable_completedat());
  const ProgressTable::Counts counts = job_->progress->counts();
  record_.set_numtotalsteps(counts.total);
  record_.set_numcachedsteps(counts.cached);
  record_.set_numcompletedsteps(counts.completed);
  record_.set_numwarnings(counts.warnings);
  for (const auto& [key, value] : made.metadata) {
    if (IsValidUtf8(value)) (*record_.mutable_exporterresponse())[key] = value;
  }
  if (log_) {
    record_.mutable_logs()->set_size(log_->size());
    record_.mutable_logs()->set_digest(log_->digest().ToString());
    log_.reset();
  }
  if (solved.ok()) return;
  google::rpc::Status error;
  rpc::ToProto(solved.error(), &error);
  error.clear_details();
  *record_.mutable_error() = std::move(error);
}

// Readers of the record fetch manifests and configs; layers are the cache's.
void Recorder::NameImagesLocked(const BuildOutcome& made) {
  for (const auto& [index, image] : made.images) {
    for (const exporter::Document& document : image.documents) {
      const auto kept = parts_.store->PutBlob(document.content);
      const Status pinned =
          kept.ok() ? parts_.store->PinBlob(document.descriptor.digest, PinOwner(job_->ref))
                    : Status(kept.error());
      if (!pinned.ok()) LOG_WARNING("the record of build {}: {}", job_->ref, pinned.error());
    }
    pb::Descriptor descriptor;
    descriptor.set_media_type(image.root.media_type);
    descriptor.set_digest(image.root.digest.ToString());
    descriptor.set_size(image.root.size);
    descriptor.mutable_annotations()->insert(image.root.annotations.begin(),
                                             image.root.annotations.end());
    pb::BuildResultInfo& result = *record_.mutable_result();
    if (!result.has_resultdeprecated()) *result.mutable_resultdeprecated() = descriptor;
    (*result.mutable_results())[index] = std::move(descriptor);
  }
}

}  // namespace kiln::control
