#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/strings.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/host.h"
#include "dockerfile/lower_stage.h"
#include "dockerfile/os_path.h"

namespace kiln::dockerfile {
namespace {

constexpr std::string_view kPipeFolder = "/dev/pipes/";
// Of what a kernel passes on as one argument, its end included.
constexpr std::size_t kMaxArgument = 128 << 10;
// Programs that read commands from a file that is named after ".".
constexpr std::array<std::string_view, 7> kShells = {"sh",  "ash", "bash",   "dash",
                                                     "ksh", "zsh", "busybox"};

// A file that the step sees in a folder of its own.
llb::ExecMount InlineDocument(std::string name, std::string text) {
  llb::MkfileAction file;
  file.path = "/" + std::move(name);
  file.mode = 0755;
  file.data = std::move(text);
  llb::VertexOptions options;
  options.name = "[internal] preparing inline document";
  llb::ExecMount mount;
  mount.dest = kPipeFolder;
  mount.selector = "/";
  mount.source = llb::File({}, {std::move(file)}, std::move(options));
  mount.readonly = true;
  return mount;
}

// There is no folder that secrets would be found in if nobody says where.
Status CheckWindowsSecret(const std::string& target, const std::string& id, bool as_variable) {
  constexpr std::string_view kExample = "e.g. --mount=type=secret,id={},target=C:/path/to/secret";
  const std::string example = ReplaceAll(kExample, "{}", id);
  if (!target.empty() && !IsAbsolute(target, kWindows)) {
    return Unknown("secret target {} must be an absolute path with forward slashes on Windows, {}",
                   Quoted(target), example);
  }
  if (target.empty() && !as_variable)
    return Unknown("secret target is required on Windows, {}", example);
  return OkStatus();
}

// Commands for a shell that are longer than an argument may be become a file that it reads.
void MoveLongCommands(std::string_view os, llb::ExecSpec& spec) {
  if (os == "windows" || spec.args.size() < 2 || spec.args.back().size() < kMaxArgument) return;
  const std::string shell = BaseName(spec.args.front());
  if (std::find(kShells.begin(), kShells.end(), shell) == kShells.end()) return;
  constexpr std::string_view kName = "commands";
  spec.mounts.push_back(InlineDocument(std::string(kName), std::move(spec.args.back())));
  spec.args.back() = fmt::format(". {}{}", kPipeFolder, kName);
}

// Build arguments named like proxy settings, in any case, go to every step without being part of
// it.
std::optional<llb::ProxyEnv> ProxyOf(const Options& options) {
  std::optional<llb::ProxyEnv> proxy;
  // In byte order: lower case comes last and wins.
  for (const auto& [key, value] : options.build_args) {
    const std::string name = ToLower(key);
    std::string llb::ProxyEnv::* member = nullptr;
    if (name == "http_proxy") member = &llb::ProxyEnv::http_proxy;
    if (name == "https_proxy") member = &llb::ProxyEnv::https_proxy;
    if (name == "ftp_proxy") member = &llb::ProxyEnv::ftp_proxy;
    if (name == "no_proxy") member = &llb::ProxyEnv::no_proxy;
    if (name == "all_proxy") member = &llb::ProxyEnv::all_proxy;
    if (member == nullptr) continue;
    if (!proxy) proxy.emplace();
    (*proxy).*member = value;
  }
  return proxy;
}

std::string WrittenTarget(const MountSpec& spec) {
  std::string target;
  for (const auto& [key, value] : spec.fields) {
    if (key == "target" && value) target = *value;
  }
  return target;
}

llb::CacheSharing SharingOf(CacheSharing sharing) {
  switch (sharing) {
    case CacheSharing::kPrivate:
      return llb::CacheSharing::kPrivate;
    case CacheSharing::kLocked:
      return llb::CacheSharing::kLocked;
    case CacheSharing::kShared:
      break;
  }
  return llb::CacheSharing::kShared;
}

}  // namespace

Status StageLowering::Do(const Run& run) {
  llb::ExecSpec spec;
  for (const Device& device : run.devices) spec.devices.push_back({device.name, !device.required});
  spec.root = state_.tree;
  spec.env = state_.env.ToStrings();
  spec.cwd = state_.cwd;
  spec.user = state_.user;
  std::string text;
  TRY_ASSIGN(spec.args, RunArgs(run, spec, text));
  bool valid = IsValidUtf8(current_->original);
  for (const std::string& arg : spec.args) valid = valid && IsValidUtf8(arg);
  if (!valid) return Unknown("the command is not valid UTF-8");
  if (run.command.shell) MoveLongCommands(state_.platform.os, spec);
  AddGlobalSettings(spec);
  if (run.network == "none") spec.network = llb::NetworkMode::kNone;
  if (run.network == "host") spec.network = llb::NetworkMode::kHost;
  if (run.security == "insecure") spec.security = llb::SecurityMode::kInsecure;
  TRY(AddMounts(run, spec));
  llb::VertexOptions options =
      StepOptions(NextPrefix(context_, state_, state_.tree_has_platform) + ShownRunText(run));
  options.platform = state_.platform;
  options.description[std::string(kCommandKey)] = current_->original;
  options.linux_resources = context_.options.linux_resources;
  const std::string history = RunHistory(spec.args);
  state_.tree = llb::Exec(std::move(spec), std::move(options)).root;
  if (state_.local != nullptr) state_.local->UseAll();
  AddHistory(history, /*layer=*/true);
  return OkStatus();
}

// The argv. One heredoc alone is a script: text for the shell, or a file if it names its
// interpreter.
Result<std::vector<std::string>> StageLowering::RunArgs(const Run& run, llb::ExecSpec& spec,
                                                        std::string& text) {
  const CommandText& command = run.command;
  if (!command.shell) {
    return command.args;
  }
  text = command.args.at(0);
  if (command.heredocs.empty()) return ShellArgs(text);
  const bool windows = state_.platform.os == "windows";
  const auto script = [&](const std::string& body) { return windows ? body : ScriptText(body); };
  const bool alone = command.heredocs.size() == 1 && ParseHeredocWord(text).has_value();
  if (!alone) {
    for (const Heredoc& heredoc : command.heredocs) {
      text += "\n" + script(heredoc.content) + heredoc.name;
    }
    return ShellArgs(text);
  }
  const Heredoc& heredoc = command.heredocs[0];
  std::string body = script(HeredocText(heredoc));
  if (!body.starts_with("#!") || windows) return ShellArgs(body);
  spec.mounts.push_back(InlineDocument(heredoc.name, std::move(body)));
  return ShellArgs(std::string(kPipeFolder) + heredoc.name);
}

void StageLowering::AddGlobalSettings(llb::ExecSpec& spec) {
  const Options& options = context_.options;
  spec.network = options.network;
  spec.hostname = options.hostname;
  spec.extra_hosts = options.extra_hosts;
  spec.ulimits = options.ulimits;
  spec.cgroup_parent = options.cgroup_parent;
  spec.proxy_env = ProxyOf(options);
  if (options.shm_size_bytes > 0) {
    llb::ExecMount shm;
    shm.dest = "/dev/shm";
    shm.tmpfs = llb::TmpfsMount{options.shm_size_bytes};
    spec.mounts.push_back(std::move(shm));
  }
}

Status StageLowering::AddMounts(const Run& run, llb::ExecSpec& spec) {
  const ExpandWord expand = [this](std::string_view text) { return Word(text); };
  for (std::size_t i = 0; i < run.mounts.size(); ++i) {
    TRY_ASSIGN(const Mount mount, ResolveMount(run.mounts[i], expand));
    TRY(AddMount(mount, i, WrittenTarget(run.mounts[i]), spec));
  }
  return OkStatus();
}

Status StageLowering::AddMount(const Mount& mount, std::size_t place,
                               const std::string& written_target, llb::ExecSpec& spec) {
  const bool file = mount.type == MountType::kSecret || mount.type == MountType::kSsh;
  std::string target = mount.target;
  if (!file) {
    if (!target.starts_with('/')) target = CleanPath("/" + state_.cwd + "/" + target);
    if (target == "/") return Unknown("invalid mount target \"/\"");
  }
  if (mount.type == MountType::kSecret) return AddSecret(mount, target, spec);
  if (mount.type == MountType::kSsh) {
    llb::SshMount ssh;
    ssh.id = mount.id;
    ssh.target = target;
    ssh.uid = mount.uid.value_or(0);
    ssh.gid = mount.gid.value_or(0);
    ssh.mode = mount.mode.value_or(0600);
    ssh.optional = !mount.required;
    spec.ssh.push_back(std::move(ssh));
    return OkStatus();
  }
  if (mount.type == MountType::kTmpfs) {
    llb::ExecMount tmpfs;
    tmpfs.dest = std::move(target);
    tmpfs.tmpfs = llb::TmpfsMount{mount.size_bytes};
    tmpfs.readonly = mount.readonly.value_or(false);
    // Taken for a mount of the whole context: its source is the root.
    if (mount.from.empty() && context_.main_context.local != nullptr) {
      context_.main_context.local->UseAll();
    }
    spec.mounts.push_back(std::move(tmpfs));
    return OkStatus();
  }
  return AddTreeMount(mount, place, std::move(target), written_target, spec);
}

Status StageLowering::AddTreeMount(const Mount& mount, std::size_t place, std::string target,
                                   const std::string& written_target, llb::ExecSpec& spec) {
  const bool cache = mount.type == MountType::kCache;
  FromTree from;
  if (cache || !mount.from.empty()) {
    TRY_ASSIGN(from, context_.from(*current_, state_.index, place, &mount));
  } else {
    from = context_.main_context;
  }
  if (from.local != nullptr) from.local->Use(mount.source);
  llb::ExecMount out;
  out.dest = std::move(target);
  out.source = from.output;
  out.readonly = mount.readonly.value_or(!cache);
  if (!mount.source.empty()) out.selector = CleanPath("/" + mount.source);
  if (out.selector == "/") out.selector.clear();
  if (!cache) {
    out.no_output = !out.readonly;
    spec.mounts.push_back(std::move(out));
    return OkStatus();
  }
  const std::string id = !mount.id.empty()        ? mount.id
                         : written_target.empty() ? out.dest
                                                  : CleanPath(mount.target);
  out.cache = llb::CacheMount{context_.options.cache_mount_ns + "/" + id, SharingOf(mount.sharing)};
  if (mount.source.empty() && (mount.mode || mount.uid || mount.gid)) {
    llb::MkdirAction mkdir;
    mkdir.path = "/cache";
    mkdir.mode = static_cast<std::int32_t>(mount.mode.value_or(0755));
    mkdir.owner = llb::Owner{llb::User(mount.uid.value_or(0)), llb::User(mount.gid.value_or(0))};
    llb::VertexOptions options;
    options.name = "[internal] setting cache mount permissions";
    out.source = llb::File(std::move(out.source), {std::move(mkdir)}, std::move(options));
    out.selector = "/cache";
  }
  spec.mounts.push_back(std::move(out));
  return OkStatus();
}

Status StageLowering::AddSecret(const Mount& mount, const std::string& written,
                                llb::ExecSpec& spec) {
  const std::string target = ToSlash(written, state_.platform.os);
  const bool windows = state_.platform.os == "windows";
  llb::SecretMount secret;
  secret.id = !mount.source.empty() ? mount.source : mount.id;
  if (secret.id.empty()) {
    if (mount.target.empty()) {
      return Unknown("invalid secret mount. one of source, target required");
    }
    secret.id = BaseName(target);
  }
  if (windows) TRY(CheckWindowsSecret(target, secret.id, mount.env.has_value()));
  secret.env = mount.env;
  if (!mount.env || !target.empty()) {
    secret.target = target.empty() ? "/run/secrets/" + BaseName(secret.id) : target;
  }
  secret.uid = mount.uid.value_or(0);
  secret.gid = mount.gid.value_or(0);
  secret.mode = mount.mode.value_or(0400);
  secret.optional = !mount.required;
  spec.secrets.push_back(std::move(secret));
  return OkStatus();
}

// `RUN |2 A=x B=y /bin/sh -c … # buildkit`: the ARGs in scope belong to what made the layer.
std::string StageLowering::RunHistory(const std::vector<std::string>& args) const {
  std::vector<std::string> values;
  for (const std::size_t place : state_.distinct_args) {
    const Arg::Item& arg = state_.args[place];
    const auto env = state_.env.Get(arg.key);
    values.push_back(arg.key + "=" + (env ? std::string(*env) : arg.value.value_or("")));
  }
  std::string out = "RUN ";
  if (!values.empty()) out += fmt::format("|{} {} ", values.size(), Join(values, " "));
  return out + Join(args, " ") + " # buildkit";
}

}  // namespace kiln::dockerfile
