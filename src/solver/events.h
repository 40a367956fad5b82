#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "progress/progress.h"

namespace kiln::solver {

struct FaultPlan;

// The vertex events of one build: announced, started, completed, each start with one completion
// that bears the same start time. Loop thread only, but sink() from any.
class JobEvents {
 public:
  JobEvents(std::shared_ptr<progress::Sink> sink, const FaultPlan& faults)
      : sink_(std::move(sink)), faults_(faults) {}

  // No effect for a digest that was announced.
  void Announce(const Digest& digest, const std::vector<Digest>& inputs, const std::string& name,
                const std::optional<progress::Group>& group);
  // Inputs that never started are shown as cached, all the way up.
  void Start(const Digest& digest, WallTime at);
  void Complete(const Digest& digest, WallTime started, WallTime at, const std::string& error,
                bool cached = false);
  // Started and completed in one: a hit. `again`: also if the vertex was shown to have run.
  void Cached(const Digest& digest, WallTime at, bool again);

  progress::Sink& sink() { return *sink_; }

 private:
  struct State {
    progress::Vertex vertex;  // as announced
    bool shown = false;       // was started, or marked cached
    int open = 0;
  };
  void ShowInputsCached(const State& state, WallTime at);
  void EmitCached(State& state, WallTime at);

  std::shared_ptr<progress::Sink> sink_;
  const FaultPlan& faults_;
  std::map<Digest, State> vertices_;
};

}  // namespace kiln::solver
