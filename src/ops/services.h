#pragma once

#include "base/clock.h"
#include "base/pool.h"
#include "store/store.h"

namespace kiln::ops {

// What every op needs; all of it outlives all ops.
struct Services {
  store::Store& store;
  WorkerPool& pool;  // for work that blocks; elastic
  const Clock& clock;
};

}  // namespace kiln::ops
