#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/result.h"

namespace kiln::store {

// The store's background thread: deletes what lies in trash/, and some time after new rows has them
// synced.
class Janitor {
 public:
  // `sync` makes everything committed so far safe from a power cut. It runs at most once per
  // `delay`, on the janitor's thread.
  static Result<std::unique_ptr<Janitor>> Start(std::function<void()> sync,
                                                std::chrono::milliseconds delay);
  // Ends soon: what is not deleted yet stays for the next start. Does not sync.
  ~Janitor();

  void Delete(std::string path);
  void WantSync();
  // Returns when everything queued so far has been deleted.
  void Drain();

 private:
  Janitor(std::function<void()> sync, std::chrono::milliseconds delay);
  void Run();
  // In pieces, so that ending need not wait for a big one.
  void DeletePath(const std::string& path, int depth);

  const std::function<void()> sync_;
  const std::chrono::milliseconds delay_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> doomed_ GUARDED_BY(mutex_);
  bool busy_ GUARDED_BY(mutex_) = false;
  std::atomic<bool> stopping_ = false;
  bool wants_sync_ GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point sync_at_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace kiln::store
