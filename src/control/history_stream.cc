#include "control/history_stream.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>

#include "control/status_stream.h"
#include "history/filter.h"
#include "rpc/status.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;
using history::Event;
using history::Record;

class HistoryStream final : public grpc::ServerWriteReactor<Event> {
 public:
  HistoryStream(history::History& history, const Clock& clock, pb::BuildHistoryRequest request)
      : history_(history), clock_(clock), request_(std::move(request)) {}

  void Begin(WorkerPool& blocking) {
    StartSendInitialMetadata();
    shared_->stream = this;
    blocking.Submit([this, shared = shared_] { List(shared); });
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(shared_->mutex);
    writing_ = false;
    queue_.pop_front();
    if (ok) {
      PumpLocked();
    } else {
      EndLocked(grpc::Status::CANCELLED);
    }
  }
  void OnCancel() override {
    std::lock_guard lock(shared_->mutex);
    EndLocked(grpc::Status::CANCELLED);
  }
  void OnDone() override { Release(); }

 private:
  // What outlives the reactor: listeners look whether it is still there.
  struct Shared {
    std::mutex mutex;
    HistoryStream* stream = nullptr;  // null once ended
    std::shared_ptr<void> listening;
  };

  void List(const std::shared_ptr<Shared>& shared) {
    if (!request_.earlyexit()) {
      auto listening = history_.Listen([shared, ref = request_.ref()](const Event& event) {
        if (!ref.empty() && event.record().ref() != ref) return;
        std::lock_guard lock(shared->mutex);
        if (shared->stream != nullptr) shared->stream->SendLocked(event);
      });
      std::lock_guard lock(shared->mutex);
      if (shared->stream != nullptr) shared->listening = std::move(listening);
    }
    const Status listed = SendKnown(*shared);
    std::unique_lock lock(shared->mutex);
    if (shared->stream != nullptr && (request_.earlyexit() || !listed.ok())) {
      end_ = rpc::ToGrpc(listed);
      PumpLocked();
    }
    lock.unlock();
    Release();
  }

  // gRPC and List each hold this.
  void Release() {
    if (--holders_ == 0) delete this;
  }

  Status SendKnown(Shared& shared) {
    if (request_.limit() < 0) return InvalidArgument("limit is negative");
    std::vector<Record> active = history_.Active();
    Send(shared, pb::STARTED, OfRef(std::move(active)));
    if (request_.activeonly()) return OkStatus();
    std::vector<Record> ended;
    if (request_.ref().empty()) {
      ended = history_.Completed();
    } else if (auto record = history_.Find(request_.ref())) {
      ended.push_back(*std::move(record));
    }
    TRY_ASSIGN(ended, history::Matching(std::move(ended),
                                        {request_.filter().begin(), request_.filter().end()},
                                        clock_.Now()));
    const auto limit = static_cast<size_t>(request_.limit());
    if (limit > 0 && ended.size() > limit) ended.resize(limit);
    Send(shared, pb::COMPLETE, std::move(ended));
    return OkStatus();
  }

  std::vector<Record> OfRef(std::vector<Record> records) const {
    if (!request_.ref().empty())
      std::erase_if(records, [&](const Record& one) { return one.ref() != request_.ref(); });
    return records;
  }

  void Send(Shared& shared, pb::BuildHistoryEventType type, std::vector<Record> records) {
    std::lock_guard lock(shared.mutex);
    if (shared.stream == nullptr) return;
    for (Record& record : records) {
      Event event;
      event.set_type(type);
      *event.mutable_record() = std::move(record);
      SendLocked(std::move(event));
    }
  }

  void SendLocked(Event event) {
    queue_.push_back(std::move(event));
    PumpLocked();
  }

  void PumpLocked() {
    if (writing_ || shared_->stream == nullptr) return;
    if (!queue_.empty()) {
      writing_ = true;
      StartWrite(&queue_.front());
    } else if (end_) {
      EndLocked(*end_);
    }
  }

  void EndLocked(const grpc::Status& status) {
    if (shared_->stream == nullptr) return;
    shared_->stream = nullptr;
    shared_->listening.reset();
    Finish(status);
  }

  history::History& history_;
  const Clock& clock_;
  const pb::BuildHistoryRequest request_;
  std::atomic<int> holders_ = 2;
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  // Under the shared lock.
  std::deque<Event> queue_;
  bool writing_ = false;
  std::optional<grpc::Status> end_;
};

class ReplayStream final : public grpc::ServerWriteReactor<pb::StatusResponse> {
 public:
  ReplayStream(history::History& history, WorkerPool& blocking, const std::string& ref)
      : blocking_(blocking) {
    StartSendInitialMetadata();
    blocking_.Submit([this, &history, ref] {
      Result<history::LogReader> log = history.OpenLog(ref);
      if (log.ok()) {
        log_.emplace(*std::move(log));
        SendNext();
      } else {
        Finish(rpc::ToGrpc(log.error()));
      }
    });
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      blocking_.Submit([this] { SendNext(); });
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  void SendNext() {
    const Result<bool> more = log_->Next(&batch_);
    if (!more.ok()) {
      Finish(rpc::ToGrpc(more.error()));
    } else if (*more) {
      StartWrite(&batch_);
    } else {
      Finish(grpc::Status::OK);
    }
  }

  WorkerPool& blocking_;
  std::optional<history::LogReader> log_;
  pb::StatusResponse batch_;
};

}  // namespace

grpc::ServerWriteReactor<Event>* ServeHistory(history::History& history, WorkerPool& blocking,
                                              const Clock& clock,
                                              grpc::CallbackServerContext* context,
                                              const pb::BuildHistoryRequest& request) {
  AddTimestamp(clock, context);
  auto* stream = new HistoryStream(history, clock, request);
  stream->Begin(blocking);
  return stream;
}

grpc::ServerWriteReactor<pb::StatusResponse>* ServeRecordedStatus(history::History& history,
                                                                  WorkerPool& blocking,
                                                                  const std::string& ref) {
  return new ReplayStream(history, blocking, ref);
}

}  // namespace kiln::control
