#pragma once

#include <cstddef>
#include <functional>

#include "base/pool.h"
#include "base/result.h"

namespace kiln {

// Calls `work(0) … work(count - 1)`, at most `limit` at a time, on the calling thread and on
// `pool`'s. Returns when all that were begun have ended: with the error of the lowest index that
// failed; after a failure no further one is begun. Makes progress even if the pool is busy. `work`
// may block.
Status ForEachParallel(WorkerPool& pool, size_t limit, size_t count,
                       const std::function<Status(size_t)>& work);

}  // namespace kiln
