#include "source/git_command.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/strings.h"
#include "http/url.h"
#include "llb/git_url.h"
#include "session/secrets.h"
#include "source/disk_room.h"
#include "source/git_revision.h"
#include "source/git_watch.h"
#include "sys/command.h"

namespace kiln::source {
namespace {

constexpr size_t kMaxShownBytes = 4096;
// What RunCommand keeps of each stream.
constexpr size_t kMaxSaidBytes = size_t{1} << 20;

// Where a secret header goes to: this remote only, but all of GitHub for one of its repositories,
// for the sake of submodules.
std::string HeaderScope(const std::string& remote) {
  for (const char* prefix : {"https://github.com/", "https://www.github.com/"}) {
    if (remote.starts_with(prefix)) return prefix;
  }
  return remote;
}

// git tells every second how far it is: often enough to stop before the disk is full.
Status CheckRoom(const std::string& folder) {
  struct statvfs space{};
  if (statvfs(folder.c_str(), &space) != 0) return OkStatus();
  if (Room(space) > 0) return OkStatus();
  return ResourceExhausted("the disk is nearly full");
}

// git and ssh make other addresses of "127.1" or "0x7f000001" than is written there.
Status CheckRemoteHost(const std::string& remote) {
  const auto url = llb::ParseGitUrl(remote);
  if (!url.ok()) return OkStatus();  // git says what is wrong
  TRY_CTX(http::CheckHostName(url->host), "failed to fetch remote {}", RedactRemote(remote));
  return OkStatus();
}

bool IsOneLine(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == text.npos;
}

}  // namespace

Result<std::unique_ptr<Git>> Git::Open(const Services& services, const llb::GitSource& spec,
                                       const progress::Activity& activity) {
  TRY(CheckRemoteHost(spec.remote));
  std::unique_ptr<Git> git(new Git(services, spec, activity));
  // Short: names of sockets may not be long.
  std::error_code error;
  std::string pattern = (std::filesystem::temp_directory_path(error) / "kiln-git-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) return ErrnoError(errno, "create {}", pattern);
  git->directory_ = pattern;
  TRY(git->FindAuthorization());
  TRY(git->PrepareSsh());
  return git;
}

Git::~Git() {
  agent_.reset();
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

Status Git::FindAuthorization() {
  const auto url = llb::ParseGitUrl(spec_.remote);
  const bool http = url.ok() && (url->scheme == "http" || url->scheme == "https");
  if (!http || activity_.sessions->SessionIds().empty()) return OkStatus();
  struct Name {
    std::string id;
    bool token;
  };
  std::vector<Name> names;
  for (const std::string& suffix : {"." + url->host, std::string()}) {
    if (!spec_.auth_header_secret.empty())
      names.push_back({spec_.auth_header_secret + suffix, false});
    if (!spec_.auth_token_secret.empty()) names.push_back({spec_.auth_token_secret + suffix, true});
  }
  for (const Name& name : names) {
    auto secret = session::GetSecret(services_.sessions, activity_, name.id);
    if (!secret.ok()) {
      if (secret.error().code() != Code::kNotFound) return std::move(secret).error();
      continue;
    }
    const std::string_view text = Trim(secret->Reveal());
    if (!IsOneLine(text)) return InvalidArgument("secret {} has more than one line", name.id);
    authorization_ =
        SecretString(name.token ? "basic " + Base64Encode(fmt::format("x-access-token:{}", text))
                                : std::string(text));
    return OkStatus();
  }
  return OkStatus();
}

Status Git::PrepareSsh() {
  if (!spec_.known_ssh_hosts.empty()) {
    TRY(WriteFileAtomically(directory_ + "/known_hosts", spec_.known_ssh_hosts, 0600));
  }
  if (spec_.ssh_id.empty()) return OkStatus();
  TRY_ASSIGN(session::SessionPtr session,
             session::FindSshAgent(services_.sessions, activity_, spec_.ssh_id));
  const auto forward = [session = std::move(session), id = spec_.ssh_id](
                           const progress::Activity& activity, Fd connection) {
    return session::ForwardSshAgent(activity, *session, id, std::move(connection));
  };
  TRY_ASSIGN(agent_, session::AgentSocket::Open({.directory = directory_}, forward, activity_));
  return OkStatus();
}

// No configuration and no keys of whoever runs this.
std::string Git::SshCommand() const {
  const std::string hosts = directory_ + "/known_hosts";
  std::string command =
      "ssh -F /dev/null -o BatchMode=yes -o ConnectTimeout=30 " +
      fmt::format("-o ServerAliveInterval={} ",
                  std::max<int64_t>(services_.git_stall.count() / 4, 1)) +
      "-o IdentityFile=none -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=";
  if (!spec_.known_ssh_hosts.empty()) return command + hosts + " -o StrictHostKeyChecking=yes";
  return command + "/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR";
}

bool Git::advises() const {
  const auto advice = spec_.other.find("git.advice");
  return advice != spec_.other.end() && advice->second == "true";
}

std::vector<std::string> Git::Environment(const GitCall& call) const {
  std::vector<std::string> env = services_.environment;
  const auto put = [&](std::string_view name, std::string_view value) {
    env.push_back(fmt::format("{}={}", name, value));
  };
  const auto is_path = [](const std::string& entry) { return entry.starts_with("PATH="); };
  if (std::none_of(env.begin(), env.end(), is_path)) put("PATH", "/usr/local/bin:/usr/bin:/bin");
  put("GIT_TERMINAL_PROMPT", "0");
  put("GIT_CONFIG_NOSYSTEM", "1");
  put("GIT_CONFIG_GLOBAL", "/dev/null");
  put("GIT_ATTR_NOSYSTEM", "1");
  put("HOME", "/dev/null");
  put("LC_ALL", "C");
  put("GIT_ADVICE", advises() ? "1" : "0");
  // Also what submodules may name: never files of this machine, never a remote helper.
  put("GIT_ALLOW_PROTOCOL", call.from_disk ? "file" : "http:https:git:ssh");
  put("GIT_SSH_COMMAND", SshCommand());
  if (agent_) put("SSH_AUTH_SOCK", agent_->path());
  if (!call.git_dir.empty()) put("GIT_DIR", call.git_dir);
  if (!call.work_tree.empty()) put("GIT_WORK_TREE", call.work_tree);
  if (!call.index_file.empty()) put("GIT_INDEX_FILE", call.index_file);
  // In the environment, where others of this machine cannot read it, unlike a command line.
  std::vector<std::pair<std::string, std::string>> config = {
      {"init.defaultBranch", "master"},
      {"init.templateDir", ""},
      {"core.hooksPath", "/dev/null"},
      {"gc.autoDetach", "false"},
      {"http.lowSpeedLimit", "1"},
      {"http.lowSpeedTime", std::to_string(services_.git_stall.count())},
  };
  // Git before 2.46 does not know GIT_ADVICE.
  if (!advises()) config.emplace_back("advice.detachedHead", "false");
  if (!authorization_.empty()) {
    config.emplace_back("http." + HeaderScope(spec_.remote) + ".extraheader",
                        "Authorization: " + authorization_.Reveal());
  }
  put("GIT_CONFIG_COUNT", std::to_string(config.size()));
  for (size_t i = 0; i < config.size(); ++i) {
    put(fmt::format("GIT_CONFIG_KEY_{}", i), config[i].first);
    put(fmt::format("GIT_CONFIG_VALUE_{}", i), config[i].second);
  }
  return env;
}

Result<GitResult> Git::Try(const GitCall& call) const {
  sys::Command command;
  command.program = "git";
  command.args = call.args;
  command.env = Environment(call);
  command.cwd = call.cwd;
  const auto [begin, size] = UserInfoOf(spec_.remote);
  const std::string secret = size == 0 ? "" : spec_.remote.substr(begin, size + 1);
  const auto redacted = [&](std::string_view text) {
    return secret.empty() || spec_.remote.starts_with("ssh://")
               ? std::string(text)
               : ReplaceAll(text, secret, "xxxxx@");
  };
  std::unique_ptr<SilenceWatch> watch;
  if (call.remote) {
    TRY_ASSIGN(watch, SilenceWatch::Start(
                          activity_.cancel, services_.git_stall,
                          Unavailable("git {}: no data from {} for {} s", call.args.front(),
                                      RedactRemote(spec_.remote), services_.git_stall.count())));
  }
  const auto show = [&](const std::string& text) {
    if (call.quiet || text.empty()) return;
    progress::VertexLog log;
    log.timestamp = services_.clock.Now();
    log.stream = progress::Stream::kStderr;
    log.data = redacted(text);
    activity_.sink->OnLog(log);
  };
  GitMessages messages;
  std::string said;
  command.on_output = [&](int stream, std::string_view data) {
    if (watch) {
      watch->Heard();
      if (auto room = CheckRoom(call.cwd); !room.ok()) watch->Stop(std::move(room).error());
    }
    if (stream != 2) return;
    const std::string lines = messages.Take(data);
    if (said.size() < kMaxSaidBytes) said += lines;
    show(lines);
  };
  TRY_ASSIGN(sys::CommandResult result, sys::RunCommand(services_.spawner, std::move(command),
                                                        watch ? watch->token() : activity_.cancel));
  const std::string last = messages.Finish();
  show(last);
  // On standard output is what is asked for; of the rest only the first part counts.
  if (result.truncated && result.out.size() >= kMaxSaidBytes) {
    return ResourceExhausted("git {} said too much", call.args.front());
  }
  return GitResult{result.status.ok(), std::move(result.out), redacted(said + last),
                   result.status.ToString()};
}

Error Git::Failed(const GitCall& call, const GitResult& result) {
  std::string_view said = Trim(result.err);
  if (said.size() > kMaxShownBytes) said.remove_prefix(said.size() - kMaxShownBytes);
  return Unknown("git {}: {}: {}", call.args.front(), said, result.status);
}

Result<std::string> Git::Run(const GitCall& call) const {
  TRY_ASSIGN(GitResult result, Try(call));
  if (!result.ok) return Failed(call, result);
  return std::move(result.out);
}

}  // namespace kiln::source
