#include "base/cancel.h"

#include <condition_variable>

#include "base/mutex.h"

namespace kiln {

struct CancelToken::Reason {
  Mutex mutex;
  std::optional<Error> error GUARDED_BY(mutex);
};

Status CancelToken::Check() const {
  if (!cancelled()) return OkStatus();
  MutexLock lock(reason_->mutex);
  return *reason_->error;
}

bool CancelToken::WaitFor(std::chrono::nanoseconds time) const {
  // Only this variable knows stop tokens; nothing is shared by the mutex.
  std::mutex mutex;                     // NOLINT(kiln-locks)
  std::condition_variable_any changed;  // NOLINT(kiln-locks)
  std::unique_lock lock(mutex);         // NOLINT(kiln-locks)
  changed.wait_for(lock, token_, time, [] { return false; });
  return cancelled();
}

std::unique_ptr<CancelCallback> CancelToken::OnCancel(std::function<void()> callback) const {
  return std::make_unique<CancelCallback>(token_, std::move(callback));
}

CancelSource::CancelSource() : reason_(std::make_shared<CancelToken::Reason>()) {}

CancelSource::CancelSource(const CancelToken& parent) : CancelSource() {
  auto forward = [source = source_, reason = reason_, parent]() mutable {
    Status why = parent.Check();
    {
      MutexLock lock(reason->mutex);
      if (reason->error) return;
      reason->error = why.error();
    }
    source.request_stop();
  };
  parent_link_ = parent.OnCancel(std::move(forward));
}

CancelToken CancelSource::token() const { return {source_.get_token(), reason_}; }

void CancelSource::Cancel(Error reason) {
  {
    MutexLock lock(reason_->mutex);
    if (reason_->error) return;
    reason_->error = std::move(reason);
  }
  source_.request_stop();
}

}  // namespace kiln
