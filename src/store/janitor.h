#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace kiln::store {

// The store's background thread: deletes what lies in trash/, and some time after new rows has them
// synced.
class Janitor {
 public:
  // `sync` makes everything committed so far safe from a power cut. It runs at most once per
  // `delay`, on the janitor's thread.
  Janitor(std::function<void()> sync, std::chrono::milliseconds delay);
  // Ends soon: what is not deleted yet stays for the next start. Does not sync.
  ~Janitor();

  void Delete(std::string path);
  void WantSync();
  // Returns when everything queued so far has been deleted.
  void Drain();

 private:
  void Run();
  // In pieces, so that ending need not wait for a big one.
  void DeletePath(const std::string& path, int depth);

  const std::function<void()> sync_;
  const std::chrono::milliseconds delay_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> doomed_;
  bool busy_ = false;
  std::atomic<bool> stopping_ = false;
  bool wants_sync_ = false;
  std::chrono::steady_clock::time_point sync_at_;
  std::thread thread_;
};

}  // namespace kiln::store
