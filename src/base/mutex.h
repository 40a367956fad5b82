#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/thread_annotations.h"

namespace kiln {

// std::mutex, known to clang's thread-safety analysis. The only mutex of this project
// (tools/lint/locks).
class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }
  bool TryLock() TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a mutex for a scope; may give it back in between.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() RELEASE() {}  // NOLINT(modernize-use-equals-default): the attribute wants a body
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Unlock() RELEASE() { lock_.unlock(); }
  void Lock() ACQUIRE() { lock_.lock(); }

 private:
  friend class CondVar;
  std::unique_lock<std::mutex> lock_;
};

// A condition variable for MutexLock. Predicates say what they read under: `[this]()
// REQUIRES(mutex_) { return done_; }`.
class CondVar {
 public:
  void NotifyOne() { changed_.notify_one(); }
  void NotifyAll() { changed_.notify_all(); }

  // May return without a reason: wait in a loop, or give a predicate.
  void Wait(MutexLock& lock) { changed_.wait(lock.lock_); }

  // The analysis cannot see that `lock` holds the predicate's mutex.
  template <typename Predicate>
  void Wait(MutexLock& lock, Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    while (!predicate()) changed_.wait(lock.lock_);
  }

  // False: the time is over, and the predicate still false.
  template <typename Predicate>
  bool WaitFor(MutexLock& lock, std::chrono::nanoseconds time,
               Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    return changed_.wait_for(lock.lock_, time, std::move(predicate));
  }

  template <typename Clock, typename Duration, typename Predicate>
  bool WaitUntil(MutexLock& lock, std::chrono::time_point<Clock, Duration> time,
                 Predicate predicate) NO_THREAD_SAFETY_ANALYSIS {
    return changed_.wait_until(lock.lock_, time, std::move(predicate));
  }

  // False: the time is over.
  template <typename Clock, typename Duration>
  bool WaitUntil(MutexLock& lock, std::chrono::time_point<Clock, Duration> time) {
    return changed_.wait_until(lock.lock_, time) == std::cv_status::no_timeout;
  }

 private:
  std::condition_variable changed_;
};

}  // namespace kiln
