#pragma once

#include <memory>
#include <vector>

#include "solver/graph.h"
#include "solver/op.h"

namespace kiln::solver {

class Engine;

// A run's view of its flight: what cannot change is copied, the rest is reached through the loop.
class RunContextImpl final : public RunContext {
 public:
  RunContextImpl(std::weak_ptr<Engine> engine, const FlightPtr& flight);

  const progress::Activity& activity() const override { return activity_; }
  const std::vector<ResultHandle>& inputs() const override { return inputs_; }
  Result<std::shared_ptr<Scope>> OpenScope() override;

 private:
  std::weak_ptr<Engine> engine_;
  std::weak_ptr<Flight> flight_;
  progress::Activity activity_;
  std::vector<ResultHandle> inputs_;
  std::string name_;
  int depth_;
  bool holds_;
};

}  // namespace kiln::solver
