#pragma once

#include <string>
#include <vector>

#include "cmd/engine.h"

namespace CLI {
class App;
}

namespace kiln::cmd {

// `kiln du`.
struct DuFlags {
  EngineFlags engine;
  std::vector<std::string> filters;
  std::string format = "table";
  bool verbose = false;
};
void AddDuOptions(CLI::App& app, DuFlags& flags);
int RunDu(const DuFlags& flags, const EngineChoice& choice, sys::Spawner* spawner);

// `kiln prune`.
struct PruneFlags {
  EngineFlags engine;
  std::vector<std::string> filters;
  std::string reserved_space, max_used_space, min_free_space, keep_duration;
  bool all = false;
  bool force = false;
  bool verbose = false;
};
void AddPruneOptions(CLI::App& app, PruneFlags& flags);
int RunPrune(const PruneFlags& flags, const EngineChoice& choice, sys::Spawner* spawner);

}  // namespace kiln::cmd
