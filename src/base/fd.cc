#include "base/fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/ids.h"

namespace kiln {

void Fd::Reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<Fd> Fd::Dup() const {
  int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return ErrnoError(errno, "duplicate descriptor {}", fd_);
  return Fd(copy);
}

Result<Fd> OpenFile(const std::string& path, int flags, unsigned mode) {
  int fd;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoError(errno, "open {}", path);
  return Fd(fd);
}

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  TRY_ASSIGN(auto fd, OpenFile(path, O_RDONLY));
  TRY_ASSIGN_CTX(auto data, ReadAll(fd.get(), limit), "read {}", path);
  return data;
}

Result<std::string> ReadAll(int fd, size_t limit) {
  std::string data;
  struct stat st;
  if (::fstat(fd, &st) == 0 && st.st_size > 0) {
    data.reserve(std::min<size_t>(static_cast<size_t>(st.st_size), limit) + 1);
  }
  char buffer[65536];
  for (;;) {
    TRY_ASSIGN(size_t count, ReadSome(fd, buffer, sizeof buffer));
    if (count == 0) return data;
    if (data.size() + count > limit) return ResourceExhausted("larger than {} bytes", limit);
    data.append(buffer, count);
  }
}

Result<size_t> ReadSome(int fd, void* buffer, size_t size) {
  for (;;) {
    ssize_t count = ::read(fd, buffer, size);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return ErrnoError(errno, "read");
  }
}

Status WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t count = ::write(fd, data.data(), data.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "write");
    }
    data.remove_prefix(static_cast<size_t>(count));
  }
  return OkStatus();
}

Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode) {
  std::string temporary = path + "." + NewId();
  {
    TRY_ASSIGN(auto fd, OpenFile(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    if (auto written = WriteAll(fd.get(), data); !written.ok()) {
      ::unlink(temporary.c_str());
      return std::move(written.error().AddContext("write " + path));
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    int error = errno;
    ::unlink(temporary.c_str());
    return ErrnoError(error, "rename {} to {}", temporary, path);
  }
  return OkStatus();
}

Result<std::pair<Fd, Fd>> SocketPair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError(errno, "socketpair");
  }
  return std::pair{Fd(ends[0]), Fd(ends[1])};
}

Result<std::pair<Fd, Fd>> Pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  return std::pair{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace kiln
