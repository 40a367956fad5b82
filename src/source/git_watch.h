#pragma once

// Inside source only.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/cancel.h"
#include "base/mutex.h"
#include "base/result.h"

namespace kiln::source {

// Ends what `token()` ends when nothing has been heard for a time, or when `outer` is cancelled.
class SilenceWatch {
 public:
  // `why` is the error of those who were too silent.
  static Result<std::unique_ptr<SilenceWatch>> Start(const CancelToken& outer,
                                                     std::chrono::nanoseconds most, Error why);
  ~SilenceWatch();
  SilenceWatch(const SilenceWatch&) = delete;
  SilenceWatch& operator=(const SilenceWatch&) = delete;

  CancelToken token() const { return stop_.token(); }
  void Heard() EXCLUDES(mutex_);
  // Ends it for another reason.
  void Stop(Error why) { stop_.Cancel(std::move(why)); }

 private:
  SilenceWatch(const CancelToken& outer, std::chrono::nanoseconds most, Error why)
      : most_(most), why_(std::move(why)), stop_(outer) {}
  void Watch() EXCLUDES(mutex_);

  const std::chrono::nanoseconds most_;
  const Error why_;
  CancelSource stop_;
  Mutex mutex_;
  CondVar changed_;
  std::chrono::steady_clock::time_point heard_ GUARDED_BY(mutex_);
  bool over_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// What git says on standard error, without its accounts of how far it is: those come so that its
// silence means something, and are nothing for people. Takes pieces of any size.
class GitMessages {
 public:
  // Whole lines, as far as they are there.
  std::string Take(std::string_view piece);
  // The rest, at the end.
  std::string Finish();

 private:
  std::string line_;
};

}  // namespace kiln::source
