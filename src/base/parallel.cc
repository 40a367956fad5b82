#include "base/parallel.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

namespace kiln {
namespace {

// Shared with pool tasks, which may begin after the caller has done everything itself.
struct Round {
  std::mutex mutex;
  std::condition_variable idle;
  const std::function<Status(size_t)>* work = nullptr;  // null once the caller has left
  size_t next = 0;
  size_t count = 0;
  size_t running = 0;
  std::optional<std::pair<size_t, Error>> failure;

  void Run() {
    std::unique_lock lock(mutex);
    while (work != nullptr && next < count && !failure) {
      size_t index = next++;
      ++running;
      const auto* current = work;
      lock.unlock();
      Status status = (*current)(index);
      lock.lock();
      --running;
      if (!status.ok() && (!failure || index < failure->first))
        failure = {index, std::move(status).error()};
    }
    idle.notify_all();
  }
};

}  // namespace

Status ForEachParallel(WorkerPool& pool, size_t limit, size_t count,
                       const std::function<Status(size_t)>& work) {
  auto round = std::make_shared<Round>();
  round->work = &work;
  round->count = count;
  for (size_t i = 1; i < std::min(limit, count); ++i) pool.Submit([round] { round->Run(); });
  round->Run();
  std::unique_lock lock(round->mutex);
  round->idle.wait(lock, [&] { return round->running == 0; });
  round->work = nullptr;
  if (round->failure) return std::move(round->failure->second);
  return OkStatus();
}

}  // namespace kiln
