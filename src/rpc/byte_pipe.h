#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/result.h"
#include "rpc/poller.h"

namespace kiln::rpc {

// One end of a stream socket, driven without threads: at most one read and one write are under way
// at a time, which is what gives a tunnel its back-pressure. All methods may be called from any
// thread.
class BytePipe : public std::enable_shared_from_this<BytePipe> {
 public:
  // Called with the bytes read; empty at end of stream or on error.
  using ReadCallback = std::function<void(std::string)>;
  // Called with false if the other end is gone.
  using WriteCallback = std::function<void(bool)>;

  // Sets `socket` non-blocking. `poller` outlives the pipe.
  static std::shared_ptr<BytePipe> Make(Poller& poller, Fd socket);
  ~BytePipe();

  // Calls back on the poller thread once bytes, the end or an error is there. Dropped without a
  // call by Close.
  void AsyncRead(ReadCallback callback) EXCLUDES(mutex_);
  // Calls back when all of `data` is in the socket, on the poller thread or before returning.
  void AsyncWrite(std::string data, WriteCallback callback) EXCLUDES(mutex_);
  // Makes both ends see the end of the stream; pending callbacks are called.
  void Hangup() EXCLUDES(mutex_);
  // Closes the socket and forgets pending callbacks. Idempotent.
  void Close() EXCLUDES(mutex_);

 private:
  BytePipe(Poller& poller, Fd socket) : poller_(poller), socket_(std::move(socket)) {}
  void OnEvents(uint32_t events) EXCLUDES(mutex_);
  void ArmLocked() REQUIRES(mutex_);
  // Returns 1 when all is written, 0 when the socket is full, -1 on error.
  int FlushLocked() REQUIRES(mutex_);

  Poller& poller_;
  Mutex mutex_;
  Fd socket_ GUARDED_BY(mutex_);
  Poller::Id id_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
  ReadCallback on_read_ GUARDED_BY(mutex_);
  WriteCallback on_written_ GUARDED_BY(mutex_);
  std::string out_ GUARDED_BY(mutex_);
  size_t out_done_ GUARDED_BY(mutex_) = 0;
};

// A connected pair of sockets: `pipe` is driven by the poller, `other` is meant for gRPC
// (close-on-exec, non-blocking).
struct PipeAndSocket {
  std::shared_ptr<BytePipe> pipe;
  Fd other;
};
Result<PipeAndSocket> MakePipe(Poller& poller);

}  // namespace kiln::rpc
