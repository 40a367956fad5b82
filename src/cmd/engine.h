#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "client/connection.h"
#include "control/config.h"

namespace kiln::sys {
class Spawner;
}

namespace kiln::cmd {

// --tls… of a client command, as those of buildctl.
struct TlsFlags {
  std::string ca;
  std::string cert;
  std::string key;
  std::string server_name;
  std::string dir;  // holds the three files, under the names that they usually have
};
// What they say; nullopt if none is given.
Result<std::optional<client::DaemonTls>> ResolveTls(const TlsFlags& flags);

// Where a client command looks for its engine.
struct EngineFlags {
  std::string addr;
  std::string root;
  TlsFlags tls;
};

// Where a client command finds the engine. Decided before any thread exists, by looking at sockets
// only.
struct EngineChoice {
  std::string address;  // of a daemon; empty: embed an engine on `root`
  std::string root;
  std::string config_file;  // of an embedded engine; empty: DefaultConfigFile(), if there is one
  std::optional<client::DaemonTls> tls;  // for a daemon at a tcp address
  // What modes of files made for the user lose, beside what this process's own umask takes: a
  // process with an engine in it has none.
  mode_t umask = 0;
};
// The first that applies: `addr`, KILN_HOST, BUILDKIT_HOST, the default socket if something answers
// there, the private socket of whoever holds `root` (default: DefaultRoot()), else embedded.
EngineChoice ChooseEngine(const std::string& addr, const std::string& root);

// /var/lib/kiln, or for other users $XDG_DATA_HOME/kiln.
std::string DefaultRoot();
// unix:///run/kiln/kilnd.sock; of other users than root in $XDG_RUNTIME_DIR, if that is set.
std::string DefaultAddress();
std::string DefaultConfigFile();
// The socket beside root/lock on which whoever holds the root serves others.
std::string PrivateAddress(const std::string& root);

// An engine to talk to, perhaps one in this process. Destroying an embedded one waits for the
// builds of its guests.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual const client::Connection& connection() const = 0;
  // What an embedded engine is told about registries.
  virtual const registry::HostConfigs& registries() const = 0;
};
// `spawner` is of MainEarly() if an engine is to be embedded.
Result<std::unique_ptr<Engine>> OpenEngine(const EngineChoice& choice, sys::Spawner* spawner);

}  // namespace kiln::cmd
