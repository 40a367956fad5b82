#include "rpc/byte_pipe.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/check.h"

namespace kiln::rpc {
namespace {

constexpr size_t kReadBytes = 64 << 10;

}  // namespace

std::shared_ptr<BytePipe> BytePipe::Make(Poller& poller, Fd socket) {
  const int flags = fcntl(socket.get(), F_GETFL);
  CHECK(fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) == 0);
  std::shared_ptr<BytePipe> pipe(new BytePipe(poller, std::move(socket)));
  MutexLock lock(pipe->mutex_);
  pipe->id_ = poller.Add(pipe->socket_.get(), [weak = std::weak_ptr(pipe)](uint32_t events) {
    if (auto self = weak.lock()) self->OnEvents(events);
  });
  return pipe;
}

BytePipe::~BytePipe() { Close(); }

void BytePipe::AsyncRead(ReadCallback callback) {
  MutexLock lock(mutex_);
  if (closed_) return;
  CHECK(!on_read_);
  on_read_ = std::move(callback);
  ArmLocked();
}

void BytePipe::AsyncWrite(std::string data, WriteCallback callback) {
  int done = 0;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    CHECK(!on_written_);
    out_ = std::move(data);
    out_done_ = 0;
    done = FlushLocked();
    if (done == 0) {
      on_written_ = std::move(callback);
      ArmLocked();
      return;
    }
  }
  callback(done > 0);
}

void BytePipe::Hangup() {
  MutexLock lock(mutex_);
  if (!closed_) shutdown(socket_.get(), SHUT_RDWR);
}

void BytePipe::Close() {
  ReadCallback read;
  WriteCallback written;
  MutexLock lock(mutex_);
  if (closed_) return;
  closed_ = true;
  // Destroyed after the lock is released: they may own what calls back into this pipe.
  read.swap(on_read_);
  written.swap(on_written_);
  poller_.Remove(id_, socket_.get());
  shutdown(socket_.get(), SHUT_RDWR);
  socket_.Reset();
}

int BytePipe::FlushLocked() {
  while (out_done_ < out_.size()) {
    const ssize_t n = send(socket_.get(), out_.data() + out_done_, out_.size() - out_done_,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      out_done_ += static_cast<size_t>(n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return 0;
    } else if (errno != EINTR) {
      return -1;
    }
  }
  return 1;
}

void BytePipe::ArmLocked() {
  uint32_t events = 0;
  if (on_read_) events |= EPOLLIN;
  if (on_written_) events |= EPOLLOUT;
  poller_.Arm(id_, socket_.get(), events);
}

void BytePipe::OnEvents(uint32_t events) {
  const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
  ReadCallback read;
  WriteCallback written;
  std::string data;
  int done = 0;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    if (on_written_ && (broken || (events & EPOLLOUT) != 0)) {
      done = FlushLocked();
      if (done != 0) written = std::exchange(on_written_, nullptr);
    }
    if (on_read_ && (broken || (events & EPOLLIN) != 0)) {
      std::array<char, kReadBytes> buffer;  // not cleared: most messages are short
      ssize_t n = 0;
      do {
        n = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      } while (n < 0 && errno == EINTR);
      const bool again = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
      if (n > 0) data.assign(buffer.data(), static_cast<size_t>(n));
      if (!again) read = std::exchange(on_read_, nullptr);
    }
    if (on_read_ || on_written_) ArmLocked();
  }
  if (written) written(done > 0);
  if (read) read(std::move(data));
}

Result<PipeAndSocket> MakePipe(Poller& poller) {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) != 0) {
    return ErrnoError(errno, "socketpair");
  }
  PipeAndSocket result;
  result.pipe = BytePipe::Make(poller, Fd(fds[0]));
  result.other = Fd(fds[1]);
  return result;
}

}  // namespace kiln::rpc
