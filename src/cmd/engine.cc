#include "cmd/engine.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/fd.h"
#include "base/log.h"
#include "cmd/print.h"
#include "cmd/values.h"
#include "control/daemon.h"

namespace kiln::cmd {
namespace {

constexpr std::string_view kUnixPrefix = "unix://";
constexpr auto kGuestPoll = std::chrono::milliseconds(50);
// How long whoever holds a root may take until its private socket answers.
constexpr auto kHolderTime = std::chrono::seconds(5);

// Whether something accepts connections on a unix address.
bool Answers(const std::string& address) {
  std::string path = address.substr(kUnixPrefix.size());
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) return false;
  std::memcpy(name.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return socket &&
         ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
}

class RemoteEngine final : public Engine {
 public:
  explicit RemoteEngine(client::Connection connection) : connection_(std::move(connection)) {}
  const client::Connection& connection() const override { return connection_; }
  const registry::HostConfigs& registries() const override { return none_; }

 private:
  const client::Connection connection_;
  const registry::HostConfigs none_;
};

class EmbeddedEngine final : public Engine {
 public:
  EmbeddedEngine(std::unique_ptr<control::Daemon> daemon, std::shared_ptr<grpc::Channel> channel,
                 registry::HostConfigs registries)
      : daemon_(std::move(daemon)),
        registries_(std::move(registries)),
        connection_(client::Connection::InProcess(
            std::move(channel),
            [daemon = daemon_.get()](const std::string& id, filesync::TreeSource* trees) {
              daemon->ShareTrees(id, trees);
            })) {}
  ~EmbeddedEngine() override {
    if (const size_t guests = daemon_->active_builds(); guests > 0) {
      PrintError(fmt::format("kiln: waiting for {} of other processes that use this engine\n",
                             guests == 1 ? "a build" : fmt::format("{} builds", guests)));
    }
    while (daemon_->active_builds() > 0) std::this_thread::sleep_for(kGuestPoll);
    daemon_->Shutdown(std::chrono::milliseconds(0));
  }
  const client::Connection& connection() const override { return connection_; }
  const registry::HostConfigs& registries() const override { return registries_; }

 private:
  const std::unique_ptr<control::Daemon> daemon_;
  const registry::HostConfigs registries_;
  const client::Connection connection_;
};

Result<std::unique_ptr<Engine>> Connect(
    const std::string& address, const std::optional<client::DaemonTls>& tls = std::nullopt) {
  TRY_ASSIGN(auto connection, client::Connection::Connect(address, tls));
  return std::unique_ptr<Engine>(std::make_unique<RemoteEngine>(std::move(connection)));
}

}  // namespace

namespace {

// The first of two names that is there.
Result<std::string> OneOf(const std::string& dir, const char* name, const char* other) {
  for (const char* one : {name, other}) {
    std::string path = dir + "/" + one;
    if (::access(path.c_str(), F_OK) == 0) return path;
  }
  return NotFound("--tlsdir {}: neither {} nor {} is there", dir, name, other);
}

}  // namespace

Result<std::optional<client::DaemonTls>> ResolveTls(const TlsFlags& flags) {
  client::DaemonTls tls;
  tls.files = {flags.cert, flags.key, flags.ca};
  tls.server_name = flags.server_name;
  if (!flags.dir.empty()) {
    if (!tls.files.empty())
      return InvalidArgument("--tlsdir stands for --tlscacert, --tlscert and --tlskey: not both");
    TRY_ASSIGN(tls.files.ca, OneOf(flags.dir, "ca.pem", "ca.crt"));
    TRY_ASSIGN(tls.files.cert, OneOf(flags.dir, "cert.pem", "tls.crt"));
    TRY_ASSIGN(tls.files.key, OneOf(flags.dir, "key.pem", "tls.key"));
  }
  if (tls.files.empty() && tls.server_name.empty()) return std::optional<client::DaemonTls>();
  return std::optional(std::move(tls));
}

std::string DefaultRoot() {
  if (::geteuid() == 0) return "/var/lib/kiln";
  std::string data = Env("XDG_DATA_HOME");
  return (data.empty() ? Env("HOME") + "/.local/share" : data) + "/kiln";
}

std::string DefaultAddress() {
  std::string runtime = ::geteuid() == 0 ? "" : Env("XDG_RUNTIME_DIR");
  // The variable may be a list, of which the first counts (as in buildkitd).
  runtime = runtime.substr(0, runtime.find(':'));
  return std::string(kUnixPrefix) + (runtime.empty() ? "/run" : runtime) + "/kiln/kilnd.sock";
}

std::string DefaultConfigFile() {
  if (::geteuid() == 0) return "/etc/kiln/kilnd.toml";
  std::string config = Env("XDG_CONFIG_HOME");
  return (config.empty() ? Env("HOME") + "/.config" : config) + "/kiln/kilnd.toml";
}

std::string PrivateAddress(const std::string& root) {
  return std::string(kUnixPrefix) + root + "/kiln.sock";
}

EngineChoice ChooseEngine(const std::string& addr, const std::string& root) {
  EngineChoice choice{addr, root.empty() ? DefaultRoot() : root};
  if (!choice.address.empty()) return choice;
  // A root that is named means that very state, not some daemon's.
  if (root.empty()) {
    for (const char* name : {"KILN_HOST", "BUILDKIT_HOST"}) {
      if (auto value = Env(name); !value.empty()) return {value, choice.root};
    }
    if (Answers(DefaultAddress())) return {DefaultAddress(), choice.root};
  }
  if (Answers(PrivateAddress(choice.root))) choice.address = PrivateAddress(choice.root);
  return choice;
}

Result<std::unique_ptr<Engine>> OpenEngine(const EngineChoice& choice, sys::Spawner* spawner) {
  if (!choice.address.empty()) return Connect(choice.address, choice.tls);
  if (choice.tls) {
    return InvalidArgument(
        "the --tls flags are for a daemon at a tcp address: name it with --addr");
  }
  CHECK(spawner != nullptr);
  control::Config config;
  const bool named = !choice.config_file.empty();
  TRY(control::ApplyTomlFile(named ? choice.config_file : DefaultConfigFile(), /*optional=*/!named,
                             &config));
  config.root = choice.root;
  // Whoever runs the engine in a process of their own may use what they ask for with --allow or
  // --network.
  for (const char* name : {"network.host", "security.insecure"})
    TRY(control::AddEntitlement(name, &config));
  auto daemon = control::Daemon::Start(config, *spawner);
  if (!daemon.ok()) {
    // Somebody else holds the root and serves it, or is about to.
    for (auto waited = std::chrono::milliseconds(0);
         daemon.error().code() == Code::kUnavailable && waited < kHolderTime;
         waited += kGuestPoll) {
      if (Answers(PrivateAddress(choice.root))) return Connect(PrivateAddress(choice.root));
      std::this_thread::sleep_for(kGuestPoll);
    }
    return std::move(daemon).error();
  }
  if (auto served = (*daemon)->Listen(PrivateAddress(choice.root)); !served.ok()) {
    LOG_INFO("other builds on {} will have to wait: {}", choice.root, served.error());
  }
  TRY_ASSIGN(auto channel, (*daemon)->InProcessChannel());
  return std::unique_ptr<Engine>(std::make_unique<EmbeddedEngine>(
      std::move(*daemon), std::move(channel), std::move(config.registries)));
}

}  // namespace kiln::cmd
