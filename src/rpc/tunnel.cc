#include "rpc/tunnel.h"

#include <grpcpp/create_channel_posix.h>
#include <moby/buildkit/v1/control.pb.h>
#include <sys/socket.h>

#include <thread>

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

// What callbacks of the pipe hold on to: they may outlive the reactor.
struct TunnelReactor::Shared {
  std::mutex mu;
  TunnelReactor* reactor = nullptr;  // null once finished
};

TunnelReactor::TunnelReactor(std::shared_ptr<BytePipe> pipe, std::function<void()> on_closed)
    : pipe_(std::move(pipe)),
      on_closed_(std::move(on_closed)),
      shared_(std::make_shared<Shared>()),
      in_(std::make_unique<BytesMessage>()),
      out_(std::make_unique<BytesMessage>()) {
  shared_->reactor = this;
}

TunnelReactor::~TunnelReactor() = default;

void TunnelReactor::Begin() {
  {
    // A call that was cancelled meanwhile is finished: nothing may be started on it any more.
    std::lock_guard lock(shared_->mu);
    if (shared_->reactor == nullptr) return;
    StartSendInitialMetadata();
    StartRead(in_.get());
  }
  ReadPipe();
}

void TunnelReactor::ReadPipe() {
  pipe_->AsyncRead([shared = shared_](std::string data) {
    std::unique_lock lock(shared->mu);
    TunnelReactor* self = shared->reactor;
    if (self == nullptr) return;
    if (data.empty()) {
      lock.unlock();
      self->Close();
      return;
    }
    *self->out_->mutable_data() = std::move(data);
    self->StartWrite(self->out_.get());
  });
}

void TunnelReactor::OnReadDone(bool ok) {
  if (!ok) {
    Close();
    return;
  }
  pipe_->AsyncWrite(std::move(*in_->mutable_data()), [shared = shared_](bool written) {
    std::unique_lock lock(shared->mu);
    TunnelReactor* self = shared->reactor;
    if (self == nullptr) return;
    if (written) {
      self->StartRead(self->in_.get());
      return;
    }
    lock.unlock();
    self->Close();
  });
}

void TunnelReactor::OnWriteDone(bool ok) {
  if (ok) {
    ReadPipe();
  } else {
    Close();
  }
}

void TunnelReactor::OnCancel() { Close(); }

void TunnelReactor::OnDone() { delete this; }

void TunnelReactor::Close() {
  // Holding `shared` keeps the lock alive should OnDone delete this before we return.
  const std::shared_ptr<Shared> shared = shared_;
  {
    std::lock_guard lock(shared->mu);
    if (shared->reactor == nullptr) return;
    shared->reactor = nullptr;
  }
  pipe_->Close();
  if (on_closed_) on_closed_();
  Finish(grpc::Status::OK);
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
