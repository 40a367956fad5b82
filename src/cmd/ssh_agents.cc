#include "cmd/ssh_agents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "rpc/address.h"
#include "sys/command.h"

namespace kiln::cmd {
namespace {

constexpr size_t kMaxKeyBytes = 100 << 10;
constexpr auto kStartTime = std::chrono::seconds(10);
constexpr auto kBetweenLooks = std::chrono::milliseconds(5);
// Of a key that ssh-add cannot read at all; of one that wants a passphrase it says something else.
constexpr std::string_view kBadKey = "Error loading key";

// This process's, but for what `own` ("NAME=value") says otherwise.
std::vector<std::string> Environment(const std::vector<std::string>& own) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool replaced = std::any_of(
        own.begin(), own.end(), [&](const std::string& mine) { return mine.starts_with(name); });
    if (!replaced) environment.emplace_back(text);
  }
  environment.insert(environment.end(), own.begin(), own.end());
  return environment;
}

bool HasAskpass() {
  const char* program = std::getenv("SSH_ASKPASS");
  return program != nullptr && *program != '\0';
}

// ssh-add asks until the answer is right or empty: a program that always gives the same wrong one
// would be asked for ever. What is written beside the agent's socket asks it three times.
Result<std::string> WriteAskpass(const std::string& socket) {
  std::string path = socket + ".askpass";
  TRY(WriteFileAtomically(path,
                          "#!/bin/sh\n[ ! -e \"$0.3\" ] || exit 1\nfor n in 1 2 3; do\n"
                          "  [ -e \"$0.$n\" ] || { : >\"$0.$n\"; break; }\ndone\n"
                          "exec \"$KILN_ASKPASS\" \"$@\"\n"));
  if (chmod(path.c_str(), 0700) != 0) return ErrnoError(errno, "chmod {}", path);
  return path;
}

// The error of a program that is not there says what to install.
Error ProgramError(Error error) {
  if (error.code() == Code::kNotFound)
    error.AddContext("--ssh with key files needs OpenSSH's ssh-agent and ssh-add");
  return error;
}

Status AwaitSocket(const sys::Child& agent, const std::string& socket, const CancelToken& cancel) {
  rpc::Address address;
  address.path = socket;
  const auto until = std::chrono::steady_clock::now() + kStartTime;
  while (std::chrono::steady_clock::now() < until) {
    TRY(cancel.Check());
    if (rpc::ConnectTo(address).ok()) return OkStatus();
    TRY_ASSIGN(const auto exit, agent.exited());
    if (exit) return Unavailable("ssh-agent ended: {}", exit->ToString());
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return Unavailable("ssh-agent does not listen on {}", socket);
}

}  // namespace

SshAgents::~SshAgents() {
  agents_.clear();
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

Result<client::SshAgent> SshAgents::Start(const SshKeys& keys, const CancelToken& cancel) {
  if (directory_.empty()) {
    std::error_code error;
    std::string pattern =
        (std::filesystem::temp_directory_path(error) / "kiln-ssh-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) return ErrnoError(errno, "create {}", pattern);
    directory_ = pattern;
  }
  client::SshAgent agent;
  agent.id = keys.id;
  agent.socket = fmt::format("{}/{}", directory_, agents_.size());
  sys::ProcessRequest request;
  request.program = "ssh-agent";
  // In the foreground; no libraries for smart cards are loaded, whoever asks for them.
  request.argv = {"ssh-agent", "-D", "-a", agent.socket, "-P", "none"};
  request.env = Environment({});
  auto started = spawner_.Start(std::move(request));
  if (!started.ok()) return ProgramError(std::move(started).error());
  agents_.push_back(*std::move(started));
  TRY(AwaitSocket(agents_.back(), agent.socket, cancel));
  for (const std::string& file : keys.files) TRY(Add(agent.socket, keys, file, cancel));
  return agent;
}

Status SshAgents::Add(const std::string& socket, const SshKeys& keys, const std::string& file,
                      const CancelToken& cancel) {
  const std::string what = fmt::format("--ssh {}: {}", keys.id, file);
  // First with no way to ask for anything, from memory: unlike a key that it opens by itself,
  // ssh-add then does not mind who else may read the file.
  sys::Command command;
  command.program = "ssh-add";
  command.args = {"-q", "-"};
  command.env = Environment({"SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS_REQUIRE=never"});
  command.new_session = true;
  TRY_ASSIGN_CTX(command.input, ReadFile(file, kMaxKeyBytes), "{}", what);
  auto added = sys::RunCommand(spawner_, std::move(command), cancel);
  if (!added.ok()) return ProgramError(std::move(added).error());
  if (added->status.ok()) return OkStatus();
  if (added->err.find(kBadKey) != std::string::npos) {
    return InvalidArgument("{} is not a private key that ssh-add can read: {}", what,
                           Quoted(Trim(added->err), 300));
  }

  Fd terminal(open("/dev/tty", O_RDWR | O_CLOEXEC));
  if (!terminal && !HasAskpass()) {
    return InvalidArgument(
        "{} is protected by a passphrase, and there is no terminal to ask for it: set SSH_ASKPASS, "
        "or add the key to an ssh-agent and use --ssh {}",
        what, keys.id);
  }
  sys::Command asking;
  asking.program = "ssh-add";
  asking.args = {"-q", file};
  asking.env = Environment({"SSH_AUTH_SOCK=" + socket});
  if (terminal) {
    // It reads from the terminal only as one of those in the foreground there, as this process is.
    asking.own_group = false;
    asking.on_cancel = [](sys::Child& child, bool last) {
      (void)child.Signal(last ? SIGKILL : SIGTERM);
    };
    asking.fds.push_back({std::move(terminal), 0});
  } else {
    TRY_ASSIGN_CTX(const std::string askpass, WriteAskpass(socket), "{}", what);
    asking.env = Environment({"SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS_REQUIRE=force",
                              fmt::format("KILN_ASKPASS={}", std::getenv("SSH_ASKPASS")),
                              "SSH_ASKPASS=" + askpass});
  }
  TRY_ASSIGN(added, sys::RunCommand(spawner_, std::move(asking), cancel));
  if (added->status.ok()) return OkStatus();
  const std::string_view said = Trim(added->err);
  return InvalidArgument("{} could not be unlocked{}{}", what, said.empty() ? "" : ": ", said);
}

}  // namespace kiln::cmd
