#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/sync_stream.h>

#include <functional>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "rpc/byte_pipe.h"

namespace moby::buildkit::v1 {
class BytesMessage;
}

namespace kiln::rpc {

// gRPC over a byte stream that is itself carried in the messages of an RPC (Control.Session). Over
// the tunnel runs plaintext HTTP/2; the side that accepted the outer RPC is the HTTP/2 client.

// What a peer on a tunnel takes at most: its server has gRPC's default receive limit of 4 MiB.
inline constexpr size_t kTunnelMessageBytes = 3 << 20;

// A channel whose one connection is `socket`. It never reconnects. The preface goes out at once.
std::shared_ptr<grpc::Channel> ChannelOverSocket(Fd socket);

// The accepting side. Deletes itself in OnDone. Message boundaries mean nothing. Ends with OK as
// soon as the peer half-closes, the RPC is cancelled or the other end of `pipe` is closed.
class TunnelReactor : public grpc::ServerBidiReactor<moby::buildkit::v1::BytesMessage,
                                                     moby::buildkit::v1::BytesMessage> {
 public:
  // `on_closed` is called exactly once, on an arbitrary thread, before the RPC is finished.
  TunnelReactor(std::shared_ptr<BytePipe> pipe, std::function<void()> on_closed);
  ~TunnelReactor() override;

  // Call once, after construction.
  void Begin();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  struct Shared;
  static void ReadPipe(const std::shared_ptr<Shared>& shared);
  static void Close(const std::shared_ptr<Shared>& shared);

  const std::shared_ptr<Shared> shared_;
  const std::function<void()> on_closed_;
  std::unique_ptr<moby::buildkit::v1::BytesMessage> in_;
  std::unique_ptr<moby::buildkit::v1::BytesMessage> out_;
};

// Ends an RPC that cannot become a tunnel.
grpc::ServerBidiReactor<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>*
RefuseTunnel(const Error& error);

// The calling side: moves bytes between `stream` and `socket` until either ends, on the calling
// thread and one more. Closing the other end of `socket` half-closes the stream; the stream's end
// shuts the socket down. An error: there was no thread to be had, and the stream is half-closed.
Status PumpTunnel(grpc::ClientReaderWriterInterface<moby::buildkit::v1::BytesMessage,
                                                    moby::buildkit::v1::BytesMessage>& stream,
                  Fd socket);

}  // namespace kiln::rpc
