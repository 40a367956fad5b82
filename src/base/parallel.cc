#include "base/parallel.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/mutex.h"

namespace kiln {
namespace {

// Shared with pool tasks, which may begin after the caller has done everything itself.
struct Round {
  Mutex mutex;
  CondVar idle;
  // Null once the caller has left.
  const std::function<Status(size_t)>* work GUARDED_BY(mutex) = nullptr;
  size_t next GUARDED_BY(mutex) = 0;
  size_t count GUARDED_BY(mutex) = 0;
  size_t running GUARDED_BY(mutex) = 0;
  std::optional<std::pair<size_t, Error>> failure GUARDED_BY(mutex);

  void Run() {
    MutexLock lock(mutex);
    while (work != nullptr && next < count && !failure) {
      size_t index = next++;
      ++running;
      const auto* current = work;
      lock.Unlock();
      Status status = (*current)(index);
      lock.Lock();
      --running;
      if (!status.ok() && (!failure || index < failure->first))
        failure = {index, std::move(status).error()};
    }
    idle.NotifyAll();
  }
};

}  // namespace

Status ForEachParallel(WorkerPool& pool, size_t limit, size_t count,
                       const std::function<Status(size_t)>& work) {
  auto round = std::make_shared<Round>();
  {
    MutexLock lock(round->mutex);
    round->work = &work;
    round->count = count;
  }
  for (size_t i = 1; i < std::min(limit, count); ++i) pool.Submit([round] { round->Run(); });
  round->Run();
  MutexLock lock(round->mutex);
  while (round->running > 0) round->idle.Wait(lock);
  round->work = nullptr;
  if (round->failure) return std::move(round->failure->second);
  return OkStatus();
}

}  // namespace kiln
