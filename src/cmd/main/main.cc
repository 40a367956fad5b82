// kiln and kilnd: one binary, told apart by the name it is called by.
#include <fmt/format.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <string_view>

#include <CLI/CLI.hpp>

#include "base/log.h"
#include "base/version.h"
#include "cmd/build_command.h"
#include "cmd/build_options.h"
#include "cmd/cache_commands.h"
#include "cmd/check_command.h"
#include "cmd/command.h"
#include "cmd/daemon_command.h"
#include "cmd/fsck_command.h"
#include "cmd/history_commands.h"
#include "cmd/interrupt.h"
#include "cmd/print.h"
#include "cmd/usage.h"
#include "sys/main_early.h"
#include "sys/name_lookups.h"

namespace kiln::cmd {
namespace {

constexpr int kUsageError = 2;

// Parses; nullopt to go on, else the exit status (help and version: 0).
std::optional<int> Parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ExtrasError&) {
    PrintError(DescribeUnknown(app));
    return kUsageError;
  } catch (const CLI::ParseError& error) {
    int status = app.exit(error);
    return status == 0 ? 0 : kUsageError;
  }
}

int Fail(const char* program, const Error& error) {
  PrintError(fmt::format("{}: {}\n", program, error));
  return 1;
}

// What takes a mount namespace of its own says what to do where there may be none.
Error WithAdvice(Error error, const char* advice) {
  if (error.code() != Code::kPermissionDenied) return error;
  return PermissionDenied("building takes the right to mount, which this process has not: {} ({})",
                          advice, error.message());
}

int DaemonMain(int argc, char** argv) {
  CLI::App app{"kilnd, the build daemon", "kilnd"};
  app.set_version_flag("--version", "kilnd kiln " + ProtocolVersion());
  DaemonFlags flags;
  AddDaemonOptions(app, flags);
  if (auto status = Parse(app, argc, argv)) return *status;
  auto config = ConfigOf(flags);
  if (!config.ok()) return Fail("kilnd", config.error());
  auto early = sys::MainEarly();
  if (!early.ok()) return Fail("kilnd", WithAdvice(early.error(), "run kilnd as root"));
  BlockInterrupts();
  return RunDaemon(*config, *early->spawner);
}

// A client keeps the umask it has.
Result<sys::Early> ClientEarly() {
  sys::Early early;
  TRY_ASSIGN(early.spawner, sys::Spawner::StartEarly());
  return early;
}

// A command of `kiln`: where its engine is, and what it does there.
struct Subcommand {
  CLI::App* app;
  const std::string& addr;
  const std::string& root;
  const TlsFlags& tls;
  std::function<int(const EngineChoice&, sys::Spawner*)> run;
};

int RunSubcommand(const Subcommand& command) {
  EngineChoice choice = ChooseEngine(command.addr, command.root);
  auto tls = ResolveTls(command.tls);
  if (!tls.ok()) return Fail("kiln", tls.error());
  choice.tls = *std::move(tls);
  // A client needs a spawner too: for credential helpers.
  (void)::signal(SIGPIPE, SIG_IGN);
  auto early = choice.address.empty() ? sys::MainEarly() : ClientEarly();
  if (!early.ok()) {
    return Fail("kiln",
                WithAdvice(early.error(), "run as root, or name a running kilnd with --addr"));
  }
  choice.umask = early->umask;
  BlockInterrupts();
  return command.run(choice, early->spawner.get());
}

void AddDebugFlag(CLI::App& app, bool& debug) {
  app.add_flag("--debug", debug, "Log what the engine in this process does");
}

int ClientMain(int argc, char** argv) {
  CLI::App app{"kiln builds container images", "kiln"};
  app.set_version_flag("--version", "kiln " + ProtocolVersion());
  app.require_subcommand(0, 1);
  app.footer("With a daemon or without: what follows uses one if it answers at " +
             DefaultAddress() + ".\n" + std::string(kExitStatus));
  bool debug = false;
  AddDebugFlag(app, debug);
  BuildFlags build;
  DuFlags du;
  PruneFlags prune;
  LsFlags ls;
  LogsFlags logs;
  const Subcommand commands[] = {
      {app.add_subcommand("build", "Build an image from a Dockerfile"), build.engine.addr,
       build.engine.root, build.engine.tls,
       [&](const auto& choice, auto* spawner) {
         EngineChoice configured = choice;
         configured.config_file = build.config;
         return RunBuild(build, configured, spawner);
       }},
      {app.add_subcommand("ls", "List recent builds (not builders: kiln has none)"), ls.engine.addr,
       ls.engine.root, ls.engine.tls,
       [&](const auto& choice, auto* spawner) { return RunLs(ls, choice, spawner); }},
      {app.add_subcommand("logs", "Show the whole log of a build or of one of its steps"),
       logs.engine.addr, logs.engine.root, logs.engine.tls,
       [&](const auto& choice, auto* spawner) { return RunLogs(logs, choice, spawner); }},
      {app.add_subcommand("du", "Show what the cache holds"), du.engine.addr, du.engine.root,
       du.engine.tls,
       [&](const auto& choice, auto* spawner) { return RunDu(du, choice, spawner); }},
      {app.add_subcommand("prune", "Remove from the cache"), prune.engine.addr, prune.engine.root,
       prune.engine.tls,
       [&](const auto& choice, auto* spawner) { return RunPrune(prune, choice, spawner); }},
  };
  for (const Subcommand& command : commands) AddDebugFlag(*command.app, debug);
  AddBuildOptions(*commands[0].app, build);
  AddLsOptions(*commands[1].app, ls);
  AddLogsOptions(*commands[2].app, logs);
  AddDuOptions(*commands[3].app, du);
  AddPruneOptions(*commands[4].app, prune);
  CLI::App* fsck_command =
      app.add_subcommand("fsck", "Check the files of an engine that does not run");
  std::string fsck_root = DefaultRoot();
  bool repair = false;
  fsck_command->add_option("--root", fsck_root, "State folder")->capture_default_str();
  fsck_command->add_flag("--repair", repair, "Drop what is broken; builds make it anew");
  CheckFlags check;
  CLI::App* check_command = app.add_subcommand("check", "Check a Dockerfile, without building it");
  AddCheckOptions(*check_command, check);
  if (auto status = Parse(app, argc, argv)) return *status;
  if (debug) SetLogLevel(LogLevel::kDebug);
  if (fsck_command->parsed()) return RunFsck(fsck_root, repair);
  if (check_command->parsed()) return RunCheck(check);
  for (const Subcommand& command : commands) {
    if (command.app->parsed()) return RunSubcommand(command);
  }
  PrintError(app.help());
  return kUsageError;
}

}  // namespace
}  // namespace kiln::cmd

int main(int argc, char** argv) {
  kiln::sys::FixNameLookups();
  const char* slash = std::strrchr(argv[0], '/');
  std::string_view name = slash != nullptr ? slash + 1 : argv[0];
  return name == "kilnd" ? kiln::cmd::DaemonMain(argc, argv) : kiln::cmd::ClientMain(argc, argv);
}
