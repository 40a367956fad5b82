#include "session/agent_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/thread_set.h"

namespace kiln::session {
namespace {

// Open at a time.
constexpr size_t kMaxConnections = 256;
constexpr int kPauseMilliseconds = 100;

// bind(2) takes short paths only: the directory is named by its descriptor.
Status BindAt(int socket, int directory, const std::string& name) {
  std::string path = fmt::format("/proc/self/fd/{}/{}", directory, name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Internal("socket path {} is too long", path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return ErrnoError(errno, "bind {}", path);
  }
  return OkStatus();
}

}  // namespace

struct AgentSocket::Impl {
  std::string path;
  Forward forward;
  CancelSource cancel;
  progress::Activity activity;
  Fd listener;
  Fd stop;
  std::thread acceptor;
  ThreadSet connections{"kiln-ssh", kMaxConnections};

  explicit Impl(const CancelToken& parent) : cancel(parent) {}

  void Accept() {
    int wait = -1;
    while (!Stopped(wait)) {
      Fd connection(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection) {
        Serve(std::make_shared<Fd>(std::move(connection)));
        wait = -1;
      } else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
        wait = -1;
      } else {
        // Out of descriptors or memory: the connection waits, and the socket stays readable.
        if (wait < 0) LOG_WARNING("ssh agent at {}: {}", path, ErrnoError(errno, "accept"));
        wait = kPauseMilliseconds;
      }
    }
  }

  // Waits for a connection, or first for `wait` milliseconds if that is not negative.
  bool Stopped(int wait) const {
    pollfd polls[2] = {{stop.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    if (wait >= 0 && poll(polls, 1, wait) > 0) return true;
    while (poll(polls, 2, -1) < 0) {
      if (errno != EINTR) return true;
    }
    return polls[0].revents != 0;
  }

  // What cannot be served is closed: its peer sees the end instead of waiting.
  void Serve(const std::shared_ptr<Fd>& connection) {
    const Status started = connections.Run([this, connection] {
      auto forwarded = forward(activity, std::move(*connection));
      if (!forwarded.ok()) LOG_DEBUG("ssh agent at {}: {}", path, forwarded.error());
    });
    if (!started.ok()) {
      LOG_WARNING("ssh agent at {}: a connection was closed: {}", path, started.error());
    }
  }
};

AgentSocket::AgentSocket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<AgentSocket>> AgentSocket::Open(const Options& options, Forward forward,
                                                       const progress::Activity& activity) {
  auto impl = std::make_unique<Impl>(activity.cancel);
  impl->activity = activity.WithCancel(impl->cancel.token());
  impl->forward = std::move(forward);
  if (mkdir(options.directory.c_str(), 0711) != 0 && errno != EEXIST) {
    return ErrnoError(errno, "make directory {}", options.directory);
  }
  TRY_ASSIGN(Fd directory, OpenFile(options.directory, O_PATH | O_DIRECTORY));
  std::string name = NewId() + ".sock";
  impl->listener.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  impl->stop.Reset(eventfd(0, EFD_CLOEXEC));
  if (!impl->listener.valid() || !impl->stop.valid()) return ErrnoError(errno, "socket");
  TRY(BindAt(impl->listener.get(), directory.get(), name));
  impl->path = options.directory + "/" + name;
  std::unique_ptr<AgentSocket> result(new AgentSocket(std::move(impl)));
  Impl& made = *result->impl_;
  if (fchownat(directory.get(), name.c_str(), options.uid, options.gid, 0) != 0 ||
      fchmodat(directory.get(), name.c_str(), options.mode & 0777, 0) != 0 ||
      listen(made.listener.get(), SOMAXCONN) != 0) {
    return ErrnoError(errno, "socket {}", made.path);
  }
  TRY_ASSIGN(made.acceptor, StartThread("kiln-ssh", [&made] { made.Accept(); }));
  return result;
}

AgentSocket::~AgentSocket() {
  eventfd_write(impl_->stop.get(), 1);
  if (impl_->acceptor.joinable()) impl_->acceptor.join();
  impl_->cancel.Cancel(Cancelled("whoever used the agent has ended"));
  unlink(impl_->path.c_str());
  // `connections` waits for those that are left.
}

const std::string& AgentSocket::path() const { return impl_->path; }

}  // namespace kiln::session
