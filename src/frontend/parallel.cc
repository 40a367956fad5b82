#include "frontend/parallel.h"

#include <latch>

namespace kiln::frontend {

void ForEachInParallel(WorkerPool& pool, std::size_t count,
                       const std::function<void(std::size_t)>& work) {
  if (count == 0) return;
  std::latch done(static_cast<std::ptrdiff_t>(count - 1));
  for (std::size_t i = 1; i < count; ++i) {
    pool.Submit([&work, &done, i] {
      work(i);
      done.count_down();
    });
  }
  work(0);
  done.wait();
}

}  // namespace kiln::frontend
