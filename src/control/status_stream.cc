#include "control/status_stream.h"

#include <grpcpp/server_context.h>
#include <moby/buildkit/v1/control.pb.h>

#include "control/progress_table.h"
#include "rpc/metadata.h"
#include "rpc/status.h"

namespace kiln::control {
namespace {

using moby::buildkit::v1::StatusResponse;

class StatusStream final : public grpc::ServerWriteReactor<StatusResponse> {
 public:
  void Begin(JobTable& jobs, const std::string& ref) {
    StartSendInitialMetadata();
    // Callbacks of the tables outlive this reactor: they hold the shared part only.
    shared_->stream = this;
    jobs.WhenPresent(ref, [shared = shared_](Result<LiveJobPtr> job) {
      std::lock_guard lock(shared->mutex);
      if (shared->stream == nullptr) return;
      if (!job.ok()) {
        shared->stream->EndLocked(rpc::ToGrpc(job.error()));
        return;
      }
      shared->reader = (*job)->progress->NewReader([shared] { Pump(shared); });
      PumpLocked(*shared);
    });
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(shared_->mutex);
    writing_ = false;
    if (ok) {
      PumpLocked(*shared_);
    } else {
      EndLocked(grpc::Status::CANCELLED);
    }
  }
  void OnCancel() override {
    std::lock_guard lock(shared_->mutex);
    EndLocked(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  struct Shared {
    std::mutex mutex;
    StatusStream* stream = nullptr;  // null once ended
    std::shared_ptr<ProgressTable::Reader> reader;
  };

  static void Pump(const std::shared_ptr<Shared>& shared) {
    std::lock_guard lock(shared->mutex);
    PumpLocked(*shared);
  }

  static void PumpLocked(Shared& shared) {
    StatusStream* self = shared.stream;
    if (self == nullptr || self->writing_ || !shared.reader) return;
    switch (shared.reader->Next(&self->batch_)) {
      case ProgressTable::Reader::State::kBatch:
        self->writing_ = true;
        self->StartWrite(&self->batch_);
        break;
      case ProgressTable::Reader::State::kEnd:
        self->EndLocked(grpc::Status::OK);
        break;
      case ProgressTable::Reader::State::kNothingYet:
        break;
    }
  }

  void EndLocked(const grpc::Status& status) {
    if (shared_->stream == nullptr) return;
    shared_->stream = nullptr;
    // It holds what is shared, by its callback, and the build's whole progress.
    shared_->reader.reset();
    Finish(status);
  }

  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  bool writing_ = false;
  StatusResponse batch_;
};

}  // namespace

void AddTimestamp(const Clock& clock, grpc::CallbackServerContext* context) {
  context->AddInitialMetadata(rpc::kTimestampKey, FormatRfc3339(clock.Now()));
}

grpc::ServerWriteReactor<StatusResponse>* ServeStatus(
    JobTable& jobs, const Clock& clock, grpc::CallbackServerContext* context,
    const moby::buildkit::v1::StatusRequest& request) {
  AddTimestamp(clock, context);
  auto* stream = new StatusStream;
  stream->Begin(jobs, request.ref());
  return stream;
}

}  // namespace kiln::control
