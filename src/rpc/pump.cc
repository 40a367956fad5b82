#include "rpc/pump.h"

#include <sys/socket.h>

#include <thread>

#include "base/fd.h"
#include "base/thread.h"
#include "rpc/address.h"

namespace kiln::rpc {
namespace {

constexpr size_t kChunkBytes = 32 << 10;

void SocketToCall(int socket, const MessageBytes& call) {
  std::string data;
  while (true) {
    data.resize(kChunkBytes);
    const Result<size_t> n = ReadSome(socket, data.data(), data.size());
    if (!n.ok() || *n == 0) break;
    data.resize(*n);
    if (!call.write(&data)) break;
  }
  call.end_writes();
}

}  // namespace

Status Pump(const MessageBytes& call, int socket, AtCallEnd at_end) {
  auto outgoing = StartThread("kiln-pump", [&call, socket] { SocketToCall(socket, call); });
  if (!outgoing.ok()) {
    call.end_writes();
    return std::move(outgoing).error();
  }
  std::string data;
  bool open = true;
  while (call.read(&data)) {
    if (!open || SendAll(socket, data).ok()) continue;
    open = false;
    shutdown(socket, SHUT_RDWR);  // ends the other way, which ends the writes
    if (call.abandon) call.abandon();
  }
  shutdown(socket, at_end == AtCallEnd::kHalfClose ? SHUT_WR : SHUT_RDWR);
  outgoing->join();
  return OkStatus();
}

}  // namespace kiln::rpc
