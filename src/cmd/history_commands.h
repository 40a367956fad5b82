#pragma once

#include <string>
#include <vector>

#include "cmd/engine.h"

namespace CLI {
class App;
}

namespace kiln::cmd {

// `kiln ls`: builds of late.
struct LsFlags {
  EngineFlags engine;
  std::vector<std::string> filters;
  std::string format = "table";
  int limit = 50;
};
void AddLsOptions(CLI::App& app, LsFlags& flags);
int RunLs(const LsFlags& flags, const EngineChoice& choice, sys::Spawner* spawner);

// `kiln logs [BUILD] [STEP]`.
struct LogsFlags {
  EngineFlags engine;
  std::string build;
  std::string step;
  std::string progress = "plain";
};
void AddLogsOptions(CLI::App& app, LogsFlags& flags);
int RunLogs(const LogsFlags& flags, const EngineChoice& choice, sys::Spawner* spawner);

}  // namespace kiln::cmd
