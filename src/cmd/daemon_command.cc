#include "cmd/daemon_command.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <future>

#include <CLI/CLI.hpp>

#include "base/fd.h"
#include "base/log.h"
#include "base/strings.h"
#include "base/time.h"
#include "cmd/engine.h"
#include "cmd/interrupt.h"
#include "cmd/print.h"
#include "control/daemon.h"

namespace kiln::cmd {
namespace {

// Flags of buildkitd that are not served: to say no to what they offer is fine.
constexpr const char* kUnservedFlags[] = {"--debugaddr",
                                          "--otel-socket-path",
                                          "--save-cache-debug",
                                          "--oci-worker-proxy-snapshotter-path",
                                          "--oci-cni-config-path",
                                          "--oci-cni-binary-dir",
                                          "--oci-cni-pool-size",
                                          "--oci-worker-selinux",
                                          "--oci-worker-rootless",
                                          "--oci-worker-no-process-sandbox",
                                          "--containerd-worker-addr",
                                          "--containerd-worker-namespace",
                                          "--containerd-worker-hyperv-isolation",
                                          "--rootless",
                                          "--proxy-network"};

// The one worker is the oci worker: `wanted` and "auto" say so.
void AddWorkerFlag(CLI::App& app, const std::string& name, bool wanted, const char* refusal) {
  CLI::callback_t check = [=](const CLI::results_t& values) -> bool {
    const std::string value = values.empty() || values.front().empty() ? "true" : values.front();
    const auto flag = ParseBool(value);
    if (value != "auto" && !flag)
      throw CLI::ValidationError(name, value + " is neither true nor false nor auto");
    if (flag && *flag != wanted) throw CLI::ValidationError(name, refusal);
    return true;
  };
  app.add_option(name, check, "")->expected(0, 1)->group("");
}

void AddOthers(CLI::App& app) {
  for (const char* name : kUnservedFlags) {
    CLI::callback_t refuse = [name = std::string(name)](const CLI::results_t& values) -> bool {
      if (!values.empty() && (values.front() == "false" || values.front() == "0")) return true;
      throw CLI::ValidationError(name, "this flag of buildkitd is not served");
    };
    app.add_option(name, refuse, "")->expected(0, 1)->group("");
  }
  AddWorkerFlag(app, "--oci-worker", true, "there is no other worker");
  AddWorkerFlag(app, "--containerd-worker", false, "there is no worker but the oci worker");
}

Result<gid_t> GroupId(const std::string& text) {
  if (auto number = ParseUint(text)) return static_cast<gid_t>(*number);
  const struct group* found = ::getgrnam(text.c_str());
  if (found == nullptr) return InvalidArgument("unknown group {}", Quoted(text));
  return found->gr_gid;
}

// systemd's readiness protocol, where NOTIFY_SOCKET is set (sd_notify(3)).
void Notify(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  size_t size = std::min(std::strlen(path), sizeof name.sun_path - 1);
  std::memcpy(name.sun_path, path, size);
  if (name.sun_path[0] == '@') name.sun_path[0] = '\0';
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  if (::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&name), length) < 0) {
    LOG_WARNING("notify {}: {}", path, std::strerror(errno));
  }
}

Status Serve(const control::Config& config, sys::Spawner& spawner) {
  std::promise<int> interrupted;
  InterruptWatcher watcher([&](int signal) { interrupted.set_value(signal); });
  TRY_ASSIGN(auto daemon, control::Daemon::Start(config, spawner));
  TRY(daemon->ListenAll());
  if (auto served = daemon->Listen(PrivateAddress(config.root)); !served.ok())
    LOG_INFO("{}", served.error());
  LOG_INFO("kilnd serves {} on {}", Join(config.addresses, ", "), config.root);
  Notify("READY=1");
  int signal = interrupted.get_future().get();
  LOG_INFO("kilnd stops on signal {}; {} builds are running, and have {} s to end", signal,
           daemon->active_builds(),
           std::chrono::duration_cast<std::chrono::seconds>(config.drain_timeout).count());
  Notify("STOPPING=1");
  daemon->Shutdown(std::chrono::duration_cast<std::chrono::milliseconds>(config.drain_timeout));
  return OkStatus();
}

}  // namespace

void AddDaemonOptions(CLI::App& app, DaemonFlags& flags) {
  app.add_option("--config", flags.config_file,
                 "Configuration file with buildkitd.toml's keys (default: BUILDKITD_CONFIG, or " +
                     DefaultConfigFile() + ", if it is there)");
  app.add_option("--root", flags.root, "State folder (default: " + DefaultRoot() + ")");
  app.add_option(
         "--addr", flags.addresses,
         "Listen here: unix://PATH, tcp://HOST:PORT or fd:// (default: " + DefaultAddress() + ")")
      ->allow_extra_args(false)
      ->take_all();
  app.add_option("--group", flags.group, "Group of the unix sockets");
  app.add_option("--log-level", flags.log_level, "debug, info, warn or error (default: info)")
      ->envname("BUILDKITD_LOG_LEVEL");
  app.add_option("--log-format", flags.log_format, "text or json");
  app.add_flag("--debug,--trace", flags.debug, "Same as --log-level debug");
  app.add_option("--tlscert", flags.tls_cert, "Certificate (PEM)");
  app.add_option("--tlskey", flags.tls_key, "Its key");
  app.add_option("--tlscacert", flags.tls_ca,
                 "Authority that clients' certificates must come from");
  app.add_option("--allow-insecure-entitlement", flags.entitlements,
                 "network.host, security.insecure or device (always, unless --cdi-disabled)")
      ->allow_extra_args(false)
      ->take_all();
  app.add_flag("--cdi-disabled", flags.cdi_disabled,
               "No devices of the Container Device Interface (RUN --device)");
  app.add_option("--cdi-spec-dir", flags.cdi_spec_dirs,
                 "Folder with specifications of devices (default /etc/cdi, /var/run/cdi, "
                 "/etc/buildkit/cdi)")
      ->allow_extra_args(false)
      ->take_all();
  app.add_option("--oci-worker-labels", flags.labels, "Label of the worker, KEY=VALUE")
      ->allow_extra_args(false)
      ->take_all();
  app.add_option("--oci-worker-platform", flags.platforms,
                 "Platform that steps may be of, the default one first (default: this machine's)")
      ->allow_extra_args(false)
      ->take_all();
  app.add_option("--oci-worker-snapshotter", flags.snapshotter, "auto, overlayfs or native");
  app.add_option("--oci-worker-net", flags.network, "auto, host or none");
  app.add_option("--oci-worker-binary", flags.runtime_binary, "OCI runtime");
  app.add_option("--oci-worker-apparmor-profile", flags.apparmor_profile,
                 "AppArmor profile of steps");
  app.add_option("--oci-worker-gc-keepstorage", flags.keep_storage, "Reserved[,Free[,Max]] in MB");
  app.add_option("--oci-max-parallelism", flags.max_parallelism, "Steps at a time");
  app.add_option("--oci-worker-gc", flags.gc, "Collect automatically");
  app.add_option("--drain-timeout", flags.drain_timeout,
                 "What running builds have to end after SIGTERM (default 5m)");
  AddOthers(app);
  app.footer(R"(Examples:
  kilnd
  kilnd --group builders --oci-max-parallelism 4
  kilnd --addr tcp://0.0.0.0:1234 --tlscert cert.pem --tlskey key.pem --tlscacert clients.pem

Exit status: 0 after SIGTERM or SIGINT, 1 for a failure, 2 for a wrong command line.)");
}

Result<control::Config> ConfigOf(const DaemonFlags& flags) {
  control::Config config;
  config.root = DefaultRoot();
  const char* from_environment = std::getenv("BUILDKITD_CONFIG");
  const bool named = !flags.config_file.empty();
  const std::string file = named ? flags.config_file
                           : from_environment != nullptr && *from_environment != '\0'
                               ? from_environment
                               : DefaultConfigFile();
  TRY(control::ApplyTomlFile(file, !named, &config));
  if (!flags.root.empty()) config.root = flags.root;
  if (!flags.addresses.empty()) config.addresses = flags.addresses;
  if (config.addresses.empty()) config.addresses = {DefaultAddress()};
  if (!flags.group.empty()) {
    TRY_ASSIGN(gid_t gid, GroupId(flags.group));
    config.socket_owner.gid = static_cast<int>(gid);
  }
  if (!flags.tls_cert.empty()) config.tls.cert = flags.tls_cert;
  if (!flags.tls_key.empty()) config.tls.key = flags.tls_key;
  if (!flags.tls_ca.empty()) config.tls.ca = flags.tls_ca;
  if (!flags.entitlements.empty()) {
    config.entitlements.clear();
    for (const auto& name : flags.entitlements) TRY(control::AddEntitlement(name, &config));
  }
  if (flags.cdi_disabled) config.cdi_disabled = *flags.cdi_disabled;
  if (!flags.cdi_spec_dirs.empty()) config.cdi_spec_dirs = flags.cdi_spec_dirs;
  for (const auto& label : flags.labels) {
    auto cut = Cut(label, "=");
    if (!cut)
      return InvalidArgument("invalid value {} for --oci-worker-labels: want KEY=VALUE",
                             Quoted(label));
    config.labels[std::string(cut->first)] = cut->second;
  }
  if (!flags.platforms.empty()) {
    TRY_ASSIGN_CTX(config.platforms, control::ParsePlatforms(flags.platforms),
                   "--oci-worker-platform");
  }
  if (!flags.snapshotter.empty() && flags.snapshotter != "auto") {
    if (flags.snapshotter != "overlayfs" && flags.snapshotter != "native")
      return Unimplemented("snapshotter {} is not served", Quoted(flags.snapshotter));
    config.snapshotter = flags.snapshotter;
  }
  if (!flags.network.empty() && flags.network != "auto") {
    if (flags.network != "host" && flags.network != "none") {
      return Unimplemented("network mode {} is not served", Quoted(flags.network));
    }
    config.network_mode = flags.network;
  }
  if (!flags.runtime_binary.empty()) config.runtime_binary = flags.runtime_binary;
  if (!flags.apparmor_profile.empty()) config.apparmor_profile = flags.apparmor_profile;
  if (!flags.keep_storage.empty()) TRY(control::ApplyKeepStorage(flags.keep_storage, &config));
  if (flags.max_parallelism > 0) config.max_parallelism = flags.max_parallelism;
  if (!flags.gc) config.gc = false;
  if (!flags.drain_timeout.empty()) {
    TRY_ASSIGN_CTX(config.drain_timeout, ParseDuration(flags.drain_timeout), "--drain-timeout");
    if (config.drain_timeout.count() < 0) return InvalidArgument("--drain-timeout is negative");
  }
  if (!flags.log_level.empty()) {
    TRY_ASSIGN(config.log_level, control::ParseLogLevel(flags.log_level));
  }
  if (!flags.log_format.empty()) {
    TRY_ASSIGN(config.log_format, control::ParseLogFormat(flags.log_format));
  }
  if (flags.debug) config.log_level = LogLevel::kDebug;
  return config;
}

int RunDaemon(const control::Config& config, sys::Spawner& spawner) {
  SetLogFormat(config.log_format);
  SetLogLevel(config.log_level.value_or(LogLevel::kInfo));
  Status status = Serve(config, spawner);
  if (status.ok()) return 0;
  PrintError(fmt::format("kilnd: {}\n", status.error()));
  return 1;
}

}  // namespace kiln::cmd
