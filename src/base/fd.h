#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace kiln {

// Owns a file descriptor; closes it when destroyed.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { Reset(); }
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);
  // A duplicate with close-on-exec.
  Result<Fd> Dup() const;

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC, EINTR retried. For paths of our own; container paths go through
// sys::RootedPath.
Result<Fd> OpenFile(const std::string& path, int flags, unsigned mode = 0644);
// Whole file; an error if it is larger than `limit` bytes.
Result<std::string> ReadFile(const std::string& path, size_t limit = 64 << 20);
Result<std::string> ReadAll(int fd, size_t limit = 64 << 20);
// Up to `size` bytes, EINTR retried; 0 at the end.
Result<size_t> ReadSome(int fd, void* buffer, size_t size);
Status WriteAll(int fd, std::string_view data);
// Writes beside `path` and renames over it.
Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode = 0644);
// A connected pair of close-on-exec stream sockets.
Result<std::pair<Fd, Fd>> SocketPair();
// A close-on-exec pipe: read end, write end.
Result<std::pair<Fd, Fd>> Pipe();

}  // namespace kiln
