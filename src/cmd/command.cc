#include "cmd/command.h"

#include <cstdio>

#include <CLI/CLI.hpp>

#include "cmd/error_report.h"
#include "cmd/interrupt.h"
#include "cmd/print.h"

namespace kiln::cmd {

void AddEngineOptions(CLI::App& app, EngineFlags& flags) {
  app.add_option("--addr", flags.addr,
                 "Daemon to use, unix://… or tcp://… (default: KILN_HOST, BUILDKIT_HOST, or what "
                 "answers at " +
                     DefaultAddress() +
                     "); without any, an engine runs in this "
                     "process");
  app.add_option("--root", flags.root,
                 "State folder of an engine in this process (default: " + DefaultRoot() + ")");
  AddTlsOptions(app, flags.tls);
}

void AddTlsOptions(CLI::App& app, TlsFlags& flags) {
  app.add_option("--tlscacert", flags.ca,
                 "Authority that the certificate of a daemon at tcp://… must come from (default: "
                 "those of this machine)");
  app.add_option("--tlscert", flags.cert, "Certificate to show it");
  app.add_option("--tlskey", flags.key, "Its key");
  app.add_option("--tlsservername", flags.server_name,
                 "Name in the daemon's certificate (default: the host of --addr)");
  app.add_option("--tlsdir", flags.dir,
                 "Folder with the three files: ca.pem, cert.pem, key.pem (or ca.crt, tls.crt, "
                 "tls.key)");
}

CLI::Option* AddList(CLI::App& app, const std::string& names, std::vector<std::string>& values,
                     const std::string& help) {
  return app.add_option(names, values, help)->allow_extra_args(false)->take_all();
}

int RunCommand(const EngineChoice& choice, sys::Spawner* spawner, const Command& command) {
  CancelSource cancel;
  InterruptWatcher watcher([&](int) { cancel.Cancel(Cancelled("interrupted")); });
  progress::Activity activity;
  activity.cancel = cancel.token();
  const auto run = [&]() -> Status {
    TRY_ASSIGN(auto engine, OpenEngine(choice, spawner));
    return command(engine->connection(), activity);
  };
  Status status = run();
  if (std::fflush(stdout) != 0 && status.ok()) status = ErrnoError(errno, "standard output");
  if (status.ok()) return 0;
  PrintError(DescribeError(status.error()));
  return 1;
}

}  // namespace kiln::cmd
