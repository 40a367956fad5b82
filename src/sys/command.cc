#include "sys/command.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace kiln::sys {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// What is kept of one stream: the last `limit` bytes.
class Tail {
 public:
  explicit Tail(size_t limit) : limit_(limit) {}
  void Add(std::string_view data) {
    data_ += data;
    if (data_.size() > 2 * limit_ + 4096) Cut();
  }
  std::string Take(bool& truncated) {
    Cut();
    truncated = truncated || cut_;
    return std::move(data_);
  }

 private:
  void Cut() {
    if (data_.size() <= limit_) return;
    data_.erase(0, data_.size() - limit_);
    cut_ = true;
  }
  const size_t limit_;
  std::string data_;
  bool cut_ = false;
};

// One run: a poll loop over the pipes, the process and the cancellation.
class Run {
 public:
  Run(Command& command, const CancelToken& cancel)
      : command_(command),
        cancel_(cancel),
        kept_{Tail(command.max_output_bytes), Tail(command.max_output_bytes)} {}

  Result<CommandResult> operator()(Spawner& spawner) {
    wake_ = std::make_shared<Fd>(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_->valid()) return ErrnoError(errno, "eventfd");
    TRY_ASSIGN(Child child, Start(spawner));
    if (command_.timeout.count() > 0) deadline_ = steady_clock::now() + command_.timeout;
    auto on_cancel = cancel_.OnCancel([wake = wake_] { eventfd_write(wake->get(), 1); });
    child.OnExit([wake = wake_](const Result<ExitStatus>&) { eventfd_write(wake->get(), 1); });
    TRY(Loop(child));
    TRY_ASSIGN(std::optional<ExitStatus> status, child.exited());
    if (cancel_.cancelled()) TRY(cancel_.Check());
    if (kill_at_) return DeadlineExceeded("{} did not end in time", command_.program);
    CommandResult result{.status = *status};
    result.out = kept_[0].Take(result.truncated);
    result.err = kept_[1].Take(result.truncated);
    return result;
  }

 private:
  Result<Child> Start(Spawner& spawner) {
    ProcessRequest request{.program = command_.program,
                           .env = std::move(command_.env),
                           .cwd = command_.cwd,
                           .chroot = command_.chroot,
                           .fds = std::move(command_.fds),
                           .umask = command_.umask,
                           .new_session = command_.new_session,
                           .own_group = command_.own_group};
    request.argv.push_back(command_.program);
    for (std::string& argument : command_.args) request.argv.push_back(std::move(argument));
    for (int stream = 0; stream < 2; ++stream) {
      TRY_ASSIGN(auto pipe, Pipe());
      outputs_[stream] = std::move(pipe.first);
      request.fds.push_back({std::move(pipe.second), stream + 1});
    }
    if (!command_.input.empty()) {
      TRY_ASSIGN(auto pipe, Pipe());
      fcntl(pipe.second.get(), F_SETFL, O_NONBLOCK);
      input_ = std::move(pipe.second);
      request.fds.push_back({std::move(pipe.first), 0});
    }
    return spawner.Start(std::move(request));
  }

  // Until the process has ended and its pipes are drained. Descendants that keep the pipes open get
  // a short while.
  Status Loop(Child& child) {
    for (;;) {
      TRY_ASSIGN(std::optional<ExitStatus> status, child.exited());
      bool drained = !outputs_[0].valid() && !outputs_[1].valid();
      if (status && drained) return OkStatus();
      auto now = steady_clock::now();
      if (status) {
        if (!drain_until_) drain_until_ = now + milliseconds(2000);
        if (now >= *drain_until_) return OkStatus();
      }
      TRY(HandleCancel(child, now));
      TRY(PollOnce(Timeout(now)));
    }
  }

  Status HandleCancel(Child& child, steady_clock::time_point now) {
    bool late = deadline_ && now >= *deadline_;
    if (!cancel_.cancelled() && !late) return OkStatus();
    if (!kill_at_) {
      kill_at_ = now + std::chrono::duration_cast<steady_clock::duration>(command_.grace);
      return Stop(child, false);
    }
    if (!killed_ && now >= *kill_at_) {
      killed_ = true;
      return Stop(child, true);
    }
    return OkStatus();
  }

  Status Stop(Child& child, bool last) {
    if (!command_.on_cancel) return child.SignalGroup(last ? SIGKILL : SIGTERM);
    command_.on_cancel(child, last);
    return OkStatus();
  }

  int Timeout(steady_clock::time_point now) const {
    std::optional<steady_clock::time_point> next = drain_until_;
    if (kill_at_ && !killed_ && (!next || *kill_at_ < *next)) next = kill_at_;
    if (deadline_ && !kill_at_ && (!next || *deadline_ < *next)) next = deadline_;
    if (!next) return -1;
    return static_cast<int>(
        std::max<int64_t>(0, std::chrono::ceil<milliseconds>(*next - now).count()));
  }

  Status PollOnce(int timeout_ms) {
    pollfd polls[4] = {{outputs_[0].get(), POLLIN, 0},
                       {outputs_[1].get(), POLLIN, 0},
                       {wake_->get(), POLLIN, 0},
                       {input_.get(), POLLOUT, 0}};
    if (poll(polls, 4, timeout_ms) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    if (polls[2].revents != 0) {
      eventfd_t count;
      eventfd_read(wake_->get(), &count);
    }
    for (int stream = 0; stream < 2; ++stream) {
      if (outputs_[stream].valid() && polls[stream].revents != 0) TRY(ReadOutput(stream));
    }
    if (input_.valid() && polls[3].revents != 0) WriteInput();
    return OkStatus();
  }

  Status ReadOutput(int stream) {
    char buffer[65536];
    TRY_ASSIGN(size_t got, ReadSome(outputs_[stream].get(), buffer, sizeof buffer));
    if (got == 0) {
      outputs_[stream].Reset();
      return OkStatus();
    }
    std::string_view data(buffer, got);
    kept_[stream].Add(data);
    if (command_.on_output) command_.on_output(stream + 1, data);
    return OkStatus();
  }

  void WriteInput() {
    std::string_view rest = std::string_view(command_.input).substr(input_sent_);
    ssize_t sent = write(input_.get(), rest.data(), rest.size());
    if (sent > 0) input_sent_ += static_cast<size_t>(sent);
    bool failed =
        sent < 0 && errno != EAGAIN && errno != EINTR;  // it does not want more: not our trouble
    if (failed || input_sent_ == command_.input.size()) input_.Reset();
  }

  Command& command_;
  const CancelToken& cancel_;
  std::shared_ptr<Fd> wake_;
  Fd outputs_[2];
  Tail kept_[2];
  Fd input_;
  size_t input_sent_ = 0;
  std::optional<steady_clock::time_point> deadline_;
  std::optional<steady_clock::time_point> drain_until_;
  std::optional<steady_clock::time_point> kill_at_;
  bool killed_ = false;
};

}  // namespace

Result<CommandResult> RunCommand(Spawner& spawner, Command command, const CancelToken& cancel) {
  TRY(cancel.Check());
  return Run(command, cancel)(spawner);
}

}  // namespace kiln::sys
