#include "sys/spawner.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <thread>

#include "base/log.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "base/thread.h"
#include "base/thread_annotations.h"
#include "sys/main_early.h"
#include "sys/spawner_wire.h"
#include "sys/syscalls.h"

namespace kiln::sys {

struct Child::State {
  std::weak_ptr<Spawner::Impl> spawner;
  uint64_t id = 0;

  // Set before the start is answered, and not changed any more.
  pid_t pid = 0;
  Fd pidfd;

  Mutex mutex;
  CondVar changed;
  // The start is answered: with what is above, or one of the two below.
  bool started GUARDED_BY(mutex) = false;
  std::optional<Error> start_error GUARDED_BY(mutex);
  std::optional<ReplyPacket> failure GUARDED_BY(mutex);
  std::optional<Result<ExitStatus>> exit GUARDED_BY(mutex);
  std::vector<std::function<void(Result<ExitStatus>)>> callbacks GUARDED_BY(mutex);
  bool detached GUARDED_BY(mutex) = false;
};

namespace {

Error StartError(const ReplyPacket& reply, const ProcessRequest& request) {
  switch (reply.stage) {
    case StartStage::kDirectory:
      return ErrnoError(reply.error_number, "start {}: directory {}", request.program, request.cwd);
    case StartStage::kChroot:
      return ErrnoError(reply.error_number, "start {}: root directory {}", request.program,
                        request.chroot);
    case StartStage::kExec:
      return ErrnoError(reply.error_number, "start {}", request.program);
    default:
      return ErrnoError(reply.error_number, "start {}: stage {}", request.program,
                        static_cast<int>(reply.stage));
  }
}

Result<Fd> PayloadFd(const std::string& bytes) {
  Fd fd(memfd_create("kiln-start", MFD_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, "memfd");
  TRY(WriteAll(fd.get(), bytes));
  return fd;
}

Status CheckRequest(const ProcessRequest& request) {
  if (request.program.empty()) return InvalidArgument("start: no program");
  if (request.argv.empty())
    return InvalidArgument("start {}: no arguments, not even a name", request.program);
  if (request.fds.size() > kMaxChildFds)
    return InvalidArgument("start {}: too many descriptors", request.program);
  auto has_zero = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  bool zero = has_zero(request.program) || has_zero(request.cwd) || has_zero(request.chroot);
  for (const std::string& argument : request.argv) zero = zero || has_zero(argument);
  for (const std::string& variable : request.env) zero = zero || has_zero(variable);
  if (zero)
    return InvalidArgument("start {}: a zero byte in arguments or environment",
                           Quoted(request.program));
  for (const ChildFd& child_fd : request.fds) {
    if (child_fd.target < 0 || child_fd.target > 1000)
      return InvalidArgument("start {}: descriptor {}", request.program, child_fd.target);
  }
  return OkStatus();
}

}  // namespace

struct Spawner::Impl : std::enable_shared_from_this<Spawner::Impl> {
  Fd socket;
  pid_t pid = 0;

  Mutex mutex;  // also of sending
  bool reading GUARDED_BY(mutex) = false;
  bool gone GUARDED_BY(mutex) = false;
  uint64_t next_id GUARDED_BY(mutex) = 1;
  std::map<uint64_t, std::shared_ptr<Child::State>> children GUARDED_BY(mutex);
  std::thread reader;  // set once, under the mutex; joined by the destructor

  // Reading starts with the first child, so that the caller stays single-threaded until then.
  Status EnsureReader() REQUIRES(mutex) {
    if (reading) return OkStatus();
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the caller's threads
    Result<std::thread> started = StartThread("kiln-children", [this] { Read(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    TRY_ASSIGN(reader, std::move(started));
    reading = true;
    return OkStatus();
  }

  void Read() {
    for (;;) {
      ReplyPacket reply;
      std::vector<Fd> fds;
      ssize_t got = ReceivePacket(socket.get(), &reply, sizeof reply, fds);
      if (got != sizeof reply) break;
      Deliver(reply, std::move(fds));
    }
    FailAll();
  }

  void Deliver(const ReplyPacket& reply, std::vector<Fd> fds) {
    std::shared_ptr<Child::State> state;
    {
      MutexLock lock(mutex);
      auto found = children.find(reply.id);
      if (found == children.end()) return;
      state = found->second;
      if (reply.kind != ReplyKind::kStarted) children.erase(found);
    }
    if (reply.kind == ReplyKind::kExited)
      return Finish(*state, ExitStatus{reply.exit_code, reply.exit_signal});
    MutexLock lock(state->mutex);
    if (reply.kind == ReplyKind::kFailed) {
      state->failure = reply;
    } else {
      state->pid = reply.pid;
      if (!fds.empty()) state->pidfd = std::move(fds[0]);
    }
    state->started = true;
    state->changed.NotifyAll();
  }

  static void Finish(Child::State& state, const Result<ExitStatus>& exit) {
    std::vector<std::function<void(Result<ExitStatus>)>> callbacks;
    {
      MutexLock lock(state.mutex);
      state.exit = exit;
      callbacks.swap(state.callbacks);
      state.changed.NotifyAll();
    }
    for (const auto& callback : callbacks) callback(exit);
  }

  void FailAll() {
    std::map<uint64_t, std::shared_ptr<Child::State>> orphans;
    {
      MutexLock lock(mutex);
      gone = true;
      orphans.swap(children);
    }
    for (auto& [id, state] : orphans) {
      Error error = Unavailable("the spawner process has ended");
      {
        MutexLock lock(state->mutex);
        if (!state->started) state->start_error = error;
        state->started = true;
      }
      Finish(*state, error);
    }
  }
};

Spawner::Spawner(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Spawner>> Spawner::StartEarly() {
  TRY_ASSIGN(size_t threads, ThreadCount());
  if (threads != 1)
    return FailedPrecondition("spawner: {} threads run already, there must be one", threads);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError(errno, "spawner: socketpair");
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  pid_t pid = fork();
  if (pid < 0) return ErrnoError(errno, "spawner: fork");
  if (pid == 0) {
    ours.Reset();
    RunSpawnerProcess(theirs.Release());
  }
  auto impl = std::make_shared<Impl>();
  impl->socket = std::move(ours);
  impl->pid = pid;
  return std::unique_ptr<Spawner>(new Spawner(std::move(impl)));
}

Spawner::~Spawner() {
  shutdown(impl_->socket.get(), SHUT_RDWR);
  if (impl_->reader.joinable()) impl_->reader.join();
  int status;
  while (waitpid(impl_->pid, &status, 0) < 0 && errno == EINTR) {
  }
}

pid_t Spawner::pid() const { return impl_->pid; }

Result<Child> Spawner::Start(ProcessRequest request) {
  TRY(CheckRequest(request));
  StartPayload payload{.program = request.program,
                       .argv = std::move(request.argv),
                       .env = std::move(request.env),
                       .cwd = request.cwd,
                       .chroot = request.chroot,
                       .umask = request.umask,
                       .death_signal = request.death_signal,
                       .new_session = request.new_session,
                       .own_group = request.own_group,
                       .has_cgroup = request.cgroup.valid()};
  for (const ChildFd& child_fd : request.fds) payload.targets.push_back(child_fd.target);
  TRY_ASSIGN(Fd memory, PayloadFd(Encode(payload)));
  std::vector<int> fds = {memory.get()};
  for (const ChildFd& child_fd : request.fds) fds.push_back(child_fd.fd.get());
  if (request.cgroup.valid()) fds.push_back(request.cgroup.get());

  auto state = std::make_shared<Child::State>();
  state->spawner = impl_;
  {
    MutexLock lock(impl_->mutex);
    if (impl_->gone) return Unavailable("start {}: the spawner process has ended", request.program);
    TRY(impl_->EnsureReader());
    state->id = impl_->next_id++;
    impl_->children[state->id] = state;
    RequestPacket packet{.id = state->id, .kind = RequestKind::kStart};
    if (!SendPacket(impl_->socket.get(), &packet, sizeof packet, fds)) {
      impl_->children.erase(state->id);
      return ErrnoError(errno, "start {}", request.program);
    }
  }
  request.fds.clear();
  MutexLock lock(state->mutex);
  while (!state->started) state->changed.Wait(lock);
  if (state->start_error) return std::move(*state->start_error);
  if (state->failure) return StartError(*state->failure, request);
  lock.Unlock();
  return Child(std::move(state));
}

Child::Child(std::shared_ptr<State> state) : state_(std::move(state)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    Child dying(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}

Child::~Child() {
  if (!state_) return;
  {
    MutexLock lock(state_->mutex);
    if (state_->detached || state_->exit) return;
  }
  if (auto status = SignalGroup(SIGKILL); !status.ok()) LOG_WARNING("{}", status.error());
  if (auto status = Signal(SIGKILL); !status.ok()) LOG_WARNING("{}", status.error());
}

pid_t Child::pid() const { return state_->pid; }
int Child::pidfd() const { return state_->pidfd.get(); }

Result<ExitStatus> Child::Wait(const CancelToken& cancel) const {
  // The callback takes the lock, so that a cancellation between the check and the wait is not
  // missed.
  auto on_cancel = cancel.OnCancel([state = state_] {
    MutexLock lock(state->mutex);
    state->changed.NotifyAll();
  });
  MutexLock lock(state_->mutex);
  while (!state_->exit && !cancel.cancelled()) state_->changed.Wait(lock);
  if (state_->exit) return *state_->exit;
  lock.Unlock();
  TRY(cancel.Check());
  return Internal("wait for process {}: woken without reason", state_->pid);
}

Result<std::optional<ExitStatus>> Child::WaitFor(std::chrono::nanoseconds timeout) const {
  MutexLock lock(state_->mutex);
  state_->changed.WaitFor(lock, timeout,
                          [&]() REQUIRES(state_->mutex) { return state_->exit.has_value(); });
  lock.Unlock();
  return exited();
}

Result<std::optional<ExitStatus>> Child::exited() const {
  MutexLock lock(state_->mutex);
  if (!state_->exit) return std::optional<ExitStatus>();
  if (!state_->exit->ok()) return state_->exit->error();
  return std::optional<ExitStatus>(**state_->exit);
}

void Child::OnExit(std::function<void(Result<ExitStatus>)> callback) const {
  MutexLock lock(state_->mutex);
  if (!state_->exit) {
    state_->callbacks.push_back(std::move(callback));
    return;
  }
  Result<ExitStatus> exit = *state_->exit;
  lock.Unlock();
  callback(std::move(exit));
}

Status Child::Signal(int signal) const {
  if (PidfdSendSignal(state_->pidfd.get(), signal) != 0 && errno != ESRCH) {
    return ErrnoError(errno, "signal {} to process {}", signal, state_->pid);
  }
  return OkStatus();
}

Status Child::SignalGroup(int signal) const {
  auto spawner = state_->spawner.lock();
  if (!spawner) return OkStatus();  // it has killed everything
  RequestPacket packet{.id = state_->id, .kind = RequestKind::kSignalGroup, .signal = signal};
  MutexLock lock(spawner->mutex);
  if (spawner->gone) return OkStatus();
  if (!SendPacket(spawner->socket.get(), &packet, sizeof packet, {})) {
    return ErrnoError(errno, "signal {} to the group of process {}", signal, state_->pid);
  }
  return OkStatus();
}

void Child::Detach() {
  MutexLock lock(state_->mutex);
  state_->detached = true;
}

std::string ExitStatus::ToString() const {
  if (signal == 0) return fmt::format("exit code {}", code);
  const char* name = sigdescr_np(signal);
  return fmt::format("killed by signal {} ({})", signal, name != nullptr ? name : "unknown");
}

}  // namespace kiln::sys
