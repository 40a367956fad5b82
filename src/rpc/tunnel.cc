#include "rpc/tunnel.h"

#include <grpcpp/create_channel_posix.h>
#include <moby/buildkit/v1/control.pb.h>

#include <utility>

#include "base/mutex.h"
#include "rpc/library.h"
#include "rpc/limits.h"
#include "rpc/pump.h"
#include "rpc/status.h"

namespace kiln::rpc {

using moby::buildkit::v1::BytesMessage;

std::shared_ptr<grpc::Channel> ChannelOverSocket(Fd socket) {
  grpc::ChannelArguments args;
  KeepLibrary();
  ApplyLimits(&args);
  auto channel = grpc::CreateCustomInsecureChannelFromFd("localhost", socket.Release(), args);
  return channel;
}

// What callbacks of the pipe hold on to: they may outlive the reactor. Who finds `reactor` set
// under the lock may use it until the lock is released: once it is null and the call is finished,
// the reactor may be deleted at any moment by another thread.
struct TunnelReactor::Shared {
  explicit Shared(TunnelReactor* tunnel, std::shared_ptr<BytePipe> bytes)
      : pipe(std::move(bytes)), reactor(tunnel) {}

  const std::shared_ptr<BytePipe> pipe;
  Mutex mutex;
  TunnelReactor* reactor GUARDED_BY(mutex);  // null once finished
};

TunnelReactor::TunnelReactor(std::shared_ptr<BytePipe> pipe, std::function<void()> on_closed)
    : shared_(std::make_shared<Shared>(this, std::move(pipe))),
      on_closed_(std::move(on_closed)),
      in_(std::make_unique<BytesMessage>()),
      out_(std::make_unique<BytesMessage>()) {}

TunnelReactor::~TunnelReactor() = default;

void TunnelReactor::Begin() {
  const std::shared_ptr<Shared> shared = shared_;
  {
    // A call that was cancelled meanwhile is finished: nothing may be started on it any more.
    MutexLock lock(shared->mutex);
    if (shared->reactor == nullptr) return;
    StartSendInitialMetadata();
    StartRead(in_.get());
  }
  ReadPipe(shared);
}

void TunnelReactor::ReadPipe(const std::shared_ptr<Shared>& shared) {
  shared->pipe->AsyncRead([shared](std::string data) {
    if (data.empty()) {
      Close(shared);
      return;
    }
    MutexLock lock(shared->mutex);
    TunnelReactor* self = shared->reactor;
    if (self == nullptr) return;
    *self->out_->mutable_data() = std::move(data);
    self->StartWrite(self->out_.get());
  });
}

void TunnelReactor::OnReadDone(bool ok) {
  if (!ok) {
    Close(shared_);
    return;
  }
  shared_->pipe->AsyncWrite(std::move(*in_->mutable_data()), [shared = shared_](bool written) {
    if (!written) {
      Close(shared);
      return;
    }
    MutexLock lock(shared->mutex);
    TunnelReactor* self = shared->reactor;
    if (self != nullptr) self->StartRead(self->in_.get());
  });
}

void TunnelReactor::OnWriteDone(bool ok) {
  if (ok) {
    ReadPipe(shared_);
  } else {
    Close(shared_);
  }
}

void TunnelReactor::OnCancel() { Close(shared_); }

void TunnelReactor::OnDone() { delete this; }

// Callers hold `shared` themselves or are reactions, during which the reactor lives. Nothing is
// touched behind Finish, which may delete it.
void TunnelReactor::Close(const std::shared_ptr<Shared>& shared) {
  TunnelReactor* self = nullptr;
  {
    MutexLock lock(shared->mutex);
    self = std::exchange(shared->reactor, nullptr);
  }
  if (self == nullptr) return;
  shared->pipe->Close();
  if (self->on_closed_) self->on_closed_();
  self->Finish(grpc::Status::OK);
}

namespace {

class RefusingReactor final : public grpc::ServerBidiReactor<BytesMessage, BytesMessage> {
 public:
  explicit RefusingReactor(const Error& error) { Finish(ToGrpc(error)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerBidiReactor<BytesMessage, BytesMessage>* RefuseTunnel(const Error& error) {
  return new RefusingReactor(error);
}

Status PumpTunnel(grpc::ClientReaderWriterInterface<BytesMessage, BytesMessage>& stream,
                  Fd socket) {
  const auto bytes = BytesOf<BytesMessage>(stream, [&stream] { stream.WritesDone(); });
  return Pump(bytes, socket.get(), AtCallEnd::kHangUp);
}

}  // namespace kiln::rpc
