#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "executor/executor.h"

namespace kiln::executor {

// Records what it is asked to run and answers with `behaviour` (by default: success at once).
class FakeExecutor final : public Executor {
 public:
  using Behaviour =
      std::function<Result<Outcome>(const ProcessSpec&, Stdio&, const progress::Activity&)>;

  explicit FakeExecutor(Behaviour behaviour = {}) : behaviour_(std::move(behaviour)) {}

  Result<Outcome> Run(const ProcessSpec& spec, Stdio stdio,
                      const progress::Activity& activity) override {
    {
      std::lock_guard lock(mutex_);
      specs_.push_back(spec);
    }
    if (behaviour_) return behaviour_(spec, stdio, activity);
    return Outcome();
  }

  std::vector<ProcessSpec> specs() const {
    std::lock_guard lock(mutex_);
    return specs_;
  }

 private:
  Behaviour behaviour_;
  mutable std::mutex mutex_;
  std::vector<ProcessSpec> specs_;
};

}  // namespace kiln::executor
