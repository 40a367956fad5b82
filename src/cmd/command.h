#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/engine.h"
#include "progress/activity.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace kiln::cmd {

// What commands have in common.

// For the foot of a help text.
inline constexpr std::string_view kExitStatus =
    "Exit status: 0 for success, 1 for a failure, 2 for a wrong command line, 130 when interrupted "
    "twice.";

// --addr, --root and --tls….
void AddEngineOptions(CLI::App& app, EngineFlags& flags);
void AddTlsOptions(CLI::App& app, TlsFlags& flags);
// A repeatable flag: each use takes one value, commas are part of it.
CLI::Option* AddList(CLI::App& app, const std::string& names, std::vector<std::string>& values,
                     const std::string& help);

// Runs a command on the engine chosen; the first interrupt cancels the activity. Errors go to
// standard error. The exit status.
using Command = std::function<Status(const client::Connection&, const progress::Activity&)>;
int RunCommand(const EngineChoice& choice, sys::Spawner* spawner, const Command& command);

}  // namespace kiln::cmd
