#include "frontend/bridge.h"

#include "base/ids.h"

namespace kiln::frontend {

std::string Bridge::Keep(const build::ReferencePtr& reference) {
  if (!reference) return "";
  const std::string id = NewId();
  std::lock_guard lock(mutex_);
  references_.emplace(id, reference);
  return id;
}

Result<build::ReferencePtr> Bridge::Find(const std::string& id) const {
  if (id.empty()) return FailedPrecondition("empty ref");
  std::lock_guard lock(mutex_);
  const auto found = references_.find(id);
  if (found == references_.end()) return NotFound("no such ref: {}", id);
  return found->second;
}

Status Bridge::Return(Result<build::BuildResult> result) {
  std::lock_guard lock(mutex_);
  if (result_) return FailedPrecondition("gateway result is already set");
  result_ = std::move(result);
  changed_.notify_all();
  return OkStatus();
}

Result<build::BuildResult> Bridge::Wait(const CancelToken& cancel) {
  const auto wake = cancel.OnCancel([this] {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return result_.has_value() || cancel.cancelled(); });
  if (result_) return *result_;
  lock.unlock();
  TRY(cancel.Check());
  return Cancelled("context canceled");
}

}  // namespace kiln::frontend
