#pragma once

#include <cstddef>
#include <functional>

#include "base/pool.h"

namespace kiln::frontend {

// Calls work(0) … work(count - 1), the first on this thread, the others on the pool, and waits for
// all.
void ForEachInParallel(WorkerPool& pool, std::size_t count,
                       const std::function<void(std::size_t)>& work);

}  // namespace kiln::frontend
