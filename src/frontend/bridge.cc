#include "frontend/bridge.h"

#include "base/ids.h"

namespace kiln::frontend {
namespace {

constexpr std::size_t kMaxToldReferences = 16;

}  // namespace

std::string Bridge::Keep(const build::ReferencePtr& reference) {
  if (!reference) return "";
  const std::string id = NewId();
  MutexLock lock(mutex_);
  references_.emplace(id, reference);
  return id;
}

Result<build::ReferencePtr> Bridge::Find(const std::string& id) const {
  MutexLock lock(mutex_);
  const auto found = references_.find(id);
  if (found != references_.end()) return found->second;
  std::string known;
  std::size_t told = 0;
  for (const auto& [one, reference] : references_) {
    if (told > 0) known += ' ';
    if (++told > kMaxToldReferences) {
      known += "…";
      break;
    }
    known += one;
  }
  return Unknown("no such ref: {}, all [{}]", id, known);
}

Status Bridge::Return(Result<build::BuildResult> result) {
  MutexLock lock(mutex_);
  if (result_) return Unknown("gateway result is already set");
  result_ = std::move(result);
  changed_.NotifyAll();
  return OkStatus();
}

Result<build::BuildResult> Bridge::Wait(const CancelToken& cancel) {
  const auto wake = cancel.OnCancel([this] {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  MutexLock lock(mutex_);
  while (!result_ && !cancel.cancelled()) changed_.Wait(lock);
  if (result_) return *result_;
  lock.Unlock();
  TRY(cancel.Check());
  return Cancelled("context canceled");
}

}  // namespace kiln::frontend
