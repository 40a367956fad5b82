#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <thread>

#include "base/mutex.h"
#include "base/time.h"

namespace kiln {

// Where tasks are handed over. Post may be called from any thread; tasks run in order, one at a
// time.
class TaskQueue {
 public:
  virtual ~TaskQueue() = default;
  virtual void Post(std::function<void()> task) = 0;
  // Runs the task after `delay`; the id is never 0.
  virtual uint64_t PostAfter(nanoseconds delay, std::function<void()> task) = 0;
  // No effect if the timer has fired.
  virtual void CancelTimer(uint64_t id) = 0;
};

// One thread that runs tasks and timers. Tasks must not block.
class EventLoop final : public TaskQueue {
 public:
  explicit EventLoop(const char* thread_name);
  // Stops: tasks already posted run, timers do not; joins the thread.
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void Post(std::function<void()> task) override;
  uint64_t PostAfter(nanoseconds delay, std::function<void()> task) override;
  void CancelTimer(uint64_t id) override;
  // No timer fires after this. Must not be called on the loop's thread.
  void StopTimers();
  bool OnLoopThread() const { return std::this_thread::get_id() == thread_.get_id(); }
  // Runs `task` on the loop and waits for it; must not be called on the loop's thread.
  void RunAndWait(std::function<void()> task);

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> tasks_ GUARDED_BY(mutex_);
  std::multimap<SteadyTime, std::pair<uint64_t, std::function<void()>>> timers_ GUARDED_BY(mutex_);
  uint64_t next_timer_ GUARDED_BY(mutex_) = 1;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool timers_stopped_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Driven by hand in tests: tasks run in RunOne/RunAll, timers in AdvanceTo order.
class ManualQueue final : public TaskQueue {
 public:
  void Post(std::function<void()> task) override { tasks_.push_back(std::move(task)); }
  uint64_t PostAfter(nanoseconds delay, std::function<void()> task) override;
  void CancelTimer(uint64_t id) override;

  // Runs the next task; false if there is none.
  bool RunOne();
  void RunAll();
  size_t pending() const { return tasks_.size(); }
  size_t timers() const { return timers_.size(); }
  // Moves time on, posting the timers that fall due.
  void Advance(nanoseconds by);

 private:
  std::deque<std::function<void()>> tasks_;
  std::multimap<nanoseconds, std::pair<uint64_t, std::function<void()>>> timers_;
  nanoseconds now_{0};
  uint64_t next_timer_ = 1;
};

}  // namespace kiln
