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

// The store's background threads: one deletes what lies in trash/, the other has new rows synced
// some time after they came, however much there is to delete.
class Janitor {
 public:
  // `sync` makes everything committed so far safe from a power cut. It runs at most once per
  // `delay`, on a thread of its own.
  static Result<std::unique_ptr<Janitor>> Start(std::function<void()> sync,
                                                std::chrono::milliseconds delay);
  // Ends soon: what is not deleted yet stays for the next start. Does not sync.
  ~Janitor();

  void Delete(std::string path) EXCLUDES(mutex_);
  void WantSync() EXCLUDES(mutex_);
  // Returns when everything queued so far has been deleted.
  void Drain() EXCLUDES(mutex_);

 private:
  Janitor(std::function<void()> sync, std::chrono::milliseconds delay);
  void RunDeletions() EXCLUDES(mutex_);
  void RunSyncs() EXCLUDES(mutex_);
  // At once; in pieces only if something stands in the way, so that all the rest goes.
  void DeletePath(const std::string& path, int depth);

  const std::function<void()> sync_;
  const std::chrono::milliseconds delay_;
  Mutex mutex_;
  CondVar changed_;
  std::atomic<bool> stopping_ = false;
  std::deque<std::string> doomed_ GUARDED_BY(mutex_);
  bool busy_ GUARDED_BY(mutex_) = false;
  bool wants_sync_ GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point sync_at_ GUARDED_BY(mutex_);
  std::thread deleter_;
  std::thread syncer_;
};

}  // namespace kiln::store
