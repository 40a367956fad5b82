#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/cancel.h"
#include "base/pool.h"
#include "base/result.h"
#include "rpc/status.h"

namespace kiln::control {

// A unary RPC whose work blocks: runs on a pool, is cancelled with the RPC, answers with the work's
// Status. Request and response live until it has answered.
class BlockingCall final : public grpc::ServerUnaryReactor {
 public:
  using Work = std::function<Status(const CancelToken& cancel)>;

  static grpc::ServerUnaryReactor* Run(WorkerPool& pool, Work work) {
    auto* call = new BlockingCall;
    pool.Submit([call, work = std::move(work), cancel = call->cancel_->token()] {
      call->Finish(rpc::ToGrpc(work(cancel)));
    });
    return call;
  }

  void OnCancel() override { cancel_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  std::unique_ptr<CancelSource> cancel_ = std::make_unique<CancelSource>();
};

// The answering half of a server stream: messages queue here until gRPC takes them. Send and End
// may be called from any thread, as long as the stream has not been ended.
template <typename Message>
class QueuedStream final : public grpc::ServerWriteReactor<Message> {
 public:
  QueuedStream() = default;

  CancelToken cancelled() const { return cancel_.token(); }
  // Sends the initial metadata of the context at once.
  void Begin() { this->StartSendInitialMetadata(); }

  void Send(Message message) {
    std::lock_guard lock(mutex_);
    if (broken_) return;
    queue_.push_back(std::move(message));
    PumpLocked();
  }

  void End(const Status& status) {
    std::lock_guard lock(mutex_);
    end_ = rpc::ToGrpc(status);
    PumpLocked();
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    queue_.pop_front();
    if (!ok) {
      broken_ = true;
      queue_.clear();
    }
    PumpLocked();
  }
  void OnCancel() override { cancel_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  void PumpLocked() {
    if (writing_) return;
    if (!queue_.empty()) {
      writing_ = true;
      this->StartWrite(&queue_.front());
    } else if (end_ && !ended_) {
      ended_ = true;
      this->Finish(*end_);
    }
  }

  CancelSource cancel_;
  std::mutex mutex_;
  std::deque<Message> queue_;
  bool writing_ = false;
  bool broken_ = false;
  bool ended_ = false;
  std::optional<grpc::Status> end_;
};

}  // namespace kiln::control
