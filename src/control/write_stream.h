#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "base/cancel.h"
#include "base/mutex.h"
#include "base/pool.h"
#include "base/result.h"
#include "rpc/status.h"

namespace kiln::control {

// The answering half of a server stream; the base of all of them.
//
// Lifetime: gRPC is one holder among others. It lets go in OnDone, and the stream is destroyed when
// nobody else holds it: whoever calls it from another thread has a pointer of its own (`self` or
// `weak`), so that ending the stream takes nothing away from under a caller.
//
// One thread at a time is the producer: it calls Next, starts the write or ends the stream, and
// touches nothing of the stream afterwards. A write that is done makes the next producer.
template <typename Message>
class WriteStream : public grpc::ServerWriteReactor<Message>,
                    public std::enable_shared_from_this<WriteStream<Message>> {
 public:
  enum class Step { kMessage, kNothingYet, kEnd };

  // Hands the stream to gRPC: what a handler returns.
  static grpc::ServerWriteReactor<Message>* Serve(const std::shared_ptr<WriteStream>& stream) {
    WriteStream* reactor = stream.get();
    reactor->held_by_grpc_ = stream;
    reactor->StartSendInitialMetadata();
    reactor->Produce();
    return reactor;
  }

  // There may be something to send. Safe from any thread, before Serve and after the end.
  void Wake() EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      woken_ = true;
      if (producing_) return;
      producing_ = true;
    }
    Produce();
  }

  // Cancelled when the client has gone.
  CancelToken cancelled() const { return cancel_.token(); }

  void OnWriteDone(bool ok) final {
    if (!ok) cancel_.Cancel();
    Produce();
  }
  void OnCancel() final {
    cancel_.Cancel();
    Wake();
  }
  void OnDone() final { const auto last = std::move(held_by_grpc_); }

 protected:
  // `blocking`: where Next is called, if it may block; none: on the thread that woke the stream.
  explicit WriteStream(WorkerPool* blocking = nullptr) : blocking_(blocking) {}

  // What comes next: fills `message` (which has the last one in it), or waits for Wake, or ends the
  // stream; an error ends it as well.
  virtual Result<Step> Next(Message* message) = 0;
  // From the next call on. Called in Next.
  void CallNextOn(WorkerPool* blocking) { blocking_ = blocking; }

 private:
  void Produce() {
    if (blocking_ == nullptr) return ProduceHere();
    blocking_->Submit([self = this->shared_from_this()] { self->ProduceHere(); });
  }

  void ProduceHere() EXCLUDES(mutex_) {
    // Until this returns, whatever OnDone does.
    const auto self = this->shared_from_this();
    for (;;) {
      {
        MutexLock lock(mutex_);
        woken_ = false;
      }
      const Status wanted = cancel_.token().Check();
      Result<Step> step = wanted.ok() ? Next(&message_) : Result<Step>(wanted.error());
      if (!step.ok()) return this->Finish(rpc::ToGrpc(step.error()));
      if (*step == Step::kMessage) return this->StartWrite(&message_);
      if (*step == Step::kEnd) return this->Finish(grpc::Status::OK);
      MutexLock lock(mutex_);
      if (woken_) continue;
      producing_ = false;
      return;
    }
  }

  std::shared_ptr<WriteStream> held_by_grpc_;
  CancelSource cancel_;
  // The producer's.
  WorkerPool* blocking_;
  Message message_;
  Mutex mutex_;
  // Also true before the stream is served, and once it has ended.
  bool producing_ GUARDED_BY(mutex_) = true;
  bool woken_ GUARDED_BY(mutex_) = false;
};

// Sends what is put into its queue, from any thread.
template <typename Message>
class QueuedStream final : public WriteStream<Message> {
 public:
  void Send(Message message) EXCLUDES(queue_mutex_) {
    {
      MutexLock lock(queue_mutex_);
      queue_.push_back(std::move(message));
    }
    this->Wake();
  }
  // After what is queued.
  void End(Status status) EXCLUDES(queue_mutex_) {
    {
      MutexLock lock(queue_mutex_);
      end_ = std::move(status);
    }
    this->Wake();
  }

 private:
  using Step = typename WriteStream<Message>::Step;

  Result<Step> Next(Message* message) override EXCLUDES(queue_mutex_) {
    MutexLock lock(queue_mutex_);
    if (!queue_.empty()) {
      *message = std::move(queue_.front());
      queue_.pop_front();
      return Step::kMessage;
    }
    if (!end_) return Step::kNothingYet;
    TRY(*end_);
    return Step::kEnd;
  }

  Mutex queue_mutex_;
  std::deque<Message> queue_ GUARDED_BY(queue_mutex_);
  std::optional<Status> end_ GUARDED_BY(queue_mutex_);
};

}  // namespace kiln::control
