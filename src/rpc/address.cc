#include "rpc/address.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/strings.h"

namespace kiln::rpc {
namespace {

constexpr size_t kMaxUnixPathBytes = 104;
constexpr int kFirstSystemdFd = 3;
constexpr int kKeepAliveSeconds = 15;
constexpr int kKeepAliveProbes = 9;

struct AddrInfoDeleter {
  void operator()(addrinfo* info) const { freeaddrinfo(info); }
};
using AddrInfoPtr = std::unique_ptr<addrinfo, AddrInfoDeleter>;

Result<AddrInfoPtr> Lookup(const Address& address, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.host.empty() ? nullptr : address.host.c_str(),
                                std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) return Unavailable("looking up {}: {}", address.host, gai_strerror(error));
  return AddrInfoPtr(found);
}

Result<sockaddr_un> UnixSockaddr(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > kMaxUnixPathBytes) {
    return InvalidArgument("socket path {} is longer than {} bytes", path, kMaxUnixPathBytes);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<Fd> NewSocket(int family, int extra_flags) {
  Fd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | extra_flags, 0));
  if (!fd) return ErrnoError(errno, "socket");
  return fd;
}

Status MakeParent(const std::string& path, const SocketOwner& owner) {
  const std::string parent = DirName(path);
  struct stat info{};
  if (stat(parent.c_str(), &info) == 0) return OkStatus();
  TRY(MakeParent(parent, {}));
  if (mkdir(parent.c_str(), 0770) != 0 && errno != EEXIST)
    return ErrnoError(errno, "mkdir {}", parent);
  if (owner.uid >= 0 || owner.gid >= 0) {
    if (chown(parent.c_str(), owner.uid, owner.gid) != 0)
      return ErrnoError(errno, "chown {}", parent);
  }
  return OkStatus();
}

Status RemoveStaleSocket(const Address& address) {
  struct stat info{};
  if (lstat(address.path.c_str(), &info) != 0) return OkStatus();
  if (!S_ISSOCK(info.st_mode)) return AlreadyExists("{} exists and is not a socket", address.path);
  if (ConnectTo(address).ok())
    return AlreadyExists("{} is in use by another process", address.path);
  if (unlink(address.path.c_str()) != 0 && errno != ENOENT)
    return ErrnoError(errno, "unlink {}", address.path);
  return OkStatus();
}

Result<Fd> ListenUnix(const Address& address, const SocketOwner& owner) {
  TRY_ASSIGN(const sockaddr_un name, UnixSockaddr(address.path));
  TRY(MakeParent(address.path, owner));
  TRY(RemoveStaleSocket(address));
  TRY_ASSIGN(Fd fd, NewSocket(AF_UNIX, SOCK_NONBLOCK));
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
    return ErrnoError(errno, "bind {}", address.path);
  }
  // Nobody can connect before listen(), so there is no window with looser rights.
  if (chmod(address.path.c_str(), 0660) != 0) return ErrnoError(errno, "chmod {}", address.path);
  if ((owner.uid >= 0 || owner.gid >= 0) &&
      chown(address.path.c_str(), owner.uid, owner.gid) != 0) {
    return ErrnoError(errno, "chown {}", address.path);
  }
  if (listen(fd.get(), SOMAXCONN) != 0) return ErrnoError(errno, "listen {}", address.path);
  return fd;
}

// A socket that listens on `info`, on `port` (network order) unless that is 0; else an errno.
struct Listening {
  Fd socket;
  int error = 0;
};

Listening ListenOnInfo(const addrinfo& info, in_port_t port) {
  Fd fd(socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return {Fd(), errno};
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage name{};
  std::memcpy(&name, info.ai_addr, info.ai_addrlen);
  if (info.ai_family == AF_INET6) {
    // The other family has a socket of its own.
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (port != 0) reinterpret_cast<sockaddr_in6&>(name).sin6_port = port;
  } else if (port != 0) {
    reinterpret_cast<sockaddr_in&>(name).sin_port = port;
  }
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), info.ai_addrlen) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0) {
    return {Fd(), errno};
  }
  return {std::move(fd), 0};
}

// What a machine without that family says.
bool IsMissingFamily(int error) { return error == EAFNOSUPPORT || error == EADDRNOTAVAIL; }

bool SameAddress(const addrinfo& a, const addrinfo& b) {
  return a.ai_addrlen == b.ai_addrlen && std::memcmp(a.ai_addr, b.ai_addr, a.ai_addrlen) == 0;
}

// Hosts files name one address several times.
bool IsRepeated(const addrinfo* first, const addrinfo* one) {
  for (; first != one; first = first->ai_next) {
    if (SameAddress(*first, *one)) return true;
  }
  return false;
}

Result<std::vector<Fd>> ListenTcp(const Address& address) {
  TRY_ASSIGN(const AddrInfoPtr info, Lookup(address, AI_PASSIVE | AI_NUMERICSERV));
  std::vector<Fd> sockets;
  in_port_t port = 0;
  int missing = EADDRNOTAVAIL;
  for (const addrinfo* one = info.get(); one != nullptr; one = one->ai_next) {
    if (IsRepeated(info.get(), one)) continue;
    Listening made = ListenOnInfo(*one, port);
    if (IsMissingFamily(made.error)) {
      missing = made.error;
      continue;
    }
    if (made.error != 0) return ErrnoError(made.error, "listen on {}", address.ToString());
    if (port == 0 && address.port == 0) {
      TRY_ASSIGN(const Address bound, BoundAddress(made.socket));
      port = htons(bound.port);
    }
    sockets.push_back(std::move(made.socket));
  }
  if (sockets.empty()) return ErrnoError(missing, "listen on {}", address.ToString());
  return sockets;
}

// sd_listen_fds(3): how many descriptors from kFirstSystemdFd on are for us.
int64_t InheritedCount() {
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  if (count == nullptr || (pid != nullptr && ParseInt(pid).value_or(0) != getpid())) return 0;
  return ParseInt(count).value_or(0);
}

Result<Fd> InheritedSocket(int number) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0)
    return ErrnoError(errno, "descriptor {} passed by systemd", number);
  if (listens == 0) {
    return InvalidArgument(
        "descriptor {} passed by systemd is no listening stream socket (ListenStream= with "
        "Accept=no)",
        number);
  }
  fcntl(number, F_SETFD, FD_CLOEXEC);
  Fd fd(fcntl(number, F_DUPFD_CLOEXEC, kFirstSystemdFd));
  if (!fd) return ErrnoError(errno, "descriptor {} passed by systemd", number);
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return fd;
}

Result<std::vector<Fd>> InheritedSockets(const std::string& wanted) {
  const int64_t count = InheritedCount();
  if (count < 1) {
    return FailedPrecondition(
        "no sockets were passed by systemd (LISTEN_FDS): fd:// is for services with a socket unit");
  }
  const char* given = std::getenv("LISTEN_FDNAMES");
  const std::vector<std::string_view> names = Split(given == nullptr ? "" : given, ':');
  std::vector<Fd> sockets;
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    const std::string_view name = at < names.size() ? names[at] : std::string_view();
    if (!wanted.empty() && name != wanted) continue;
    TRY_ASSIGN(Fd socket, InheritedSocket(kFirstSystemdFd + i));
    sockets.push_back(std::move(socket));
  }
  if (sockets.empty()) {
    return NotFound("systemd passed no socket named {} (LISTEN_FDNAMES={})", Quoted(wanted),
                    given == nullptr ? "" : given);
  }
  return sockets;
}

}  // namespace

Result<Address> Address::Parse(std::string_view text) {
  if (text.empty()) return InvalidArgument("--addr cannot be empty");
  const auto parts = Cut(text, "://");
  if (!parts)
    return InvalidArgument("address {} does not contain proto, you meant unix://{} ?", text, text);
  const auto [scheme, rest] = *parts;
  Address address;
  if (scheme == "unix") {
    if (rest.empty()) return InvalidArgument("address {} has no path", text);
    address.path = rest;
    return address;
  }
  if (scheme == "fd") {
    address.kind = Kind::kFd;
    address.path = rest;
    return address;
  }
  if (scheme != "tcp") return InvalidArgument("address {}: unknown protocol {}", text, scheme);
  address.kind = Kind::kTcp;
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return InvalidArgument("address {} has no port", text);
  const auto port = ParseUint(rest.substr(colon + 1));
  if (!port || *port > 65535) return InvalidArgument("address {} has a bad port", text);
  address.port = static_cast<uint16_t>(*port);
  std::string_view host = rest.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  address.host = host;
  return address;
}

std::string Address::ToString() const {
  switch (kind) {
    case Kind::kUnix:
      return "unix://" + path;
    case Kind::kFd:
      return "fd://" + path;
    case Kind::kTcp:
      break;
  }
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("tcp://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

Result<std::vector<Fd>> ListenOn(const Address& address, const SocketOwner& owner) {
  switch (address.kind) {
    case Address::Kind::kUnix: {
      TRY_ASSIGN(Fd socket, ListenUnix(address, owner));
      std::vector<Fd> sockets;
      sockets.push_back(std::move(socket));
      return sockets;
    }
    case Address::Kind::kTcp:
      return ListenTcp(address);
    case Address::Kind::kFd:
      break;
  }
  return InheritedSockets(address.path);
}

Result<bool> IsNetworkSocket(const Fd& socket) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0)
    return ErrnoError(errno, "getsockname");
  return name.ss_family != AF_UNIX;
}

void KeepAlive(const Fd& socket) {
  const auto set = [&](int level, int option, int value) {
    setsockopt(socket.get(), level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
}

Result<Fd> ConnectTo(const Address& address) {
  if (address.kind == Address::Kind::kFd) return InvalidArgument("cannot connect to fd://");
  if (address.kind == Address::Kind::kUnix) {
    TRY_ASSIGN(const sockaddr_un name, UnixSockaddr(address.path));
    TRY_ASSIGN(Fd fd, NewSocket(AF_UNIX, 0));
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
      return ErrnoError(errno, "connecting to {}", address.ToString());
    }
    return fd;
  }
  TRY_ASSIGN(const AddrInfoPtr info, Lookup(address, AI_NUMERICSERV));
  int last_error = ECONNREFUSED;
  for (const addrinfo* one = info.get(); one != nullptr; one = one->ai_next) {
    TRY_ASSIGN(Fd fd, NewSocket(one->ai_family, 0));
    if (connect(fd.get(), one->ai_addr, one->ai_addrlen) == 0) {
      const int on = 1;
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      KeepAlive(fd);
      return fd;
    }
    last_error = errno;
  }
  return ErrnoError(last_error, "connecting to {}", address.ToString());
}

Status SendAll(int socket, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = send(socket, data.data(), data.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      data.remove_prefix(static_cast<size_t>(n));
    } else if (errno != EINTR) {
      return ErrnoError(errno, "send");
    }
  }
  return OkStatus();
}

Result<Address> BoundAddress(const Fd& socket) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0)
    return ErrnoError(errno, "getsockname");
  char host[NI_MAXHOST] = {};
  char port[NI_MAXSERV] = {};
  const int error = getnameinfo(reinterpret_cast<sockaddr*>(&name), size, host, sizeof host, port,
                                sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  if (error != 0) return Internal("getnameinfo: {}", gai_strerror(error));
  Address address;
  address.kind = Address::Kind::kTcp;
  address.host = host;
  address.port = static_cast<uint16_t>(ParseUint(port).value_or(0));
  return address;
}

}  // namespace kiln::rpc
