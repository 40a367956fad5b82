#pragma once

#include <memory>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/pool.h"

namespace kiln::cdi {
class Registry;
}
namespace kiln::solver {
class Solver;
}
namespace kiln::store {
class Store;
}
namespace kiln::ops {
class Factory;
}

namespace kiln::build {

// What all builds of a process share. Made by `control`; everything outlives every job.
struct Environment {
  solver::Solver* solver = nullptr;
  store::Store* store = nullptr;
  ops::Factory* ops = nullptr;
  const Clock* clock = nullptr;
  WorkerPool* blocking = nullptr;  // for work that blocks on disk, network or other results
  std::set<std::string> allowed_entitlements;  // by the daemon's configuration
  cdi::Registry* devices = nullptr;            // null: they are disabled
};

}  // namespace kiln::build
