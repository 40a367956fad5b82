#include "rpc/tunnel.h"

#include <grpcpp/create_channel_posix.h>
#include <moby/buildkit/v1/control.pb.h>
#include <sys/socket.h>

#include <thread>
#include <utility>

#include "base/check.h"
#include "rpc/address.h"
#include "rpc/library.h"
#include "rpc/limits.h"
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
  std::mutex mu;
  TunnelReactor* reactor;  // null once finished
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
    std::lock_guard lock(shared->mu);
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
    std::lock_guard lock(shared->mu);
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
    std::lock_guard lock(shared->mu);
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
    std::lock_guard lock(shared->mu);
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

void PumpTunnel(grpc::ClientReaderWriterInterface<BytesMessage, BytesMessage>& stream, Fd socket) {
  std::thread outgoing([&stream, fd = socket.get()] {
    BytesMessage message;
    while (true) {
      std::string& data = *message.mutable_data();
      data.resize(32 << 10);
      const Result<size_t> n = ReadSome(fd, data.data(), data.size());
      if (!n.ok() || *n == 0) break;
      data.resize(*n);
      if (!stream.Write(message)) break;
    }
    stream.WritesDone();
  });
  BytesMessage message;
  bool open = true;
  // Reads to the end even when nobody takes the bytes: the stream's status comes behind its last
  // message.
  while (stream.Read(&message)) {
    open = open && SendAll(socket.get(), message.data()).ok();
  }
  shutdown(socket.get(), SHUT_RDWR);
  outgoing.join();
}

}  // namespace kiln::rpc
