#include "build/reference.h"

#include <condition_variable>

#include "cachedb/snapshot_result.h"
#include "llb/source_map.h"
#include "solver/failure.h"
#include "store/layer.h"
#include "store/store.h"

namespace kiln::build {
namespace {

constexpr int kMaxRepairs = 4;

// One answer that a thread waits for. Shared with the callback, which may come after the wait was
// given up.
struct Answer {
  std::mutex mutex;
  std::condition_variable_any arrived;
  std::optional<Result<solver::ResultHandle>> result;
};

}  // namespace

Reference::Reference(const Environment& environment, solver::ScopePtr scope,
                     std::optional<solver::EdgeId> edge,
                     std::shared_ptr<const pb::Definition> definition,
                     std::optional<oci::Platform> platform)
    : environment_(environment),
      scope_(std::move(scope)),
      edge_(edge),
      definition_(std::move(definition)),
      platform_(std::move(platform)) {}

Reference::Reference(const Environment& environment, solver::ScopePtr scope,
                     std::shared_ptr<const pb::Definition> definition, Error refusal)
    : environment_(environment),
      scope_(std::move(scope)),
      definition_(std::move(definition)),
      refusal_(std::move(refusal)) {}

Result<solver::ResultHandle> Reference::Wait(
    const progress::Activity& activity,
    const std::function<solver::AskId(solver::Callback<solver::ResultHandle>)>& ask) {
  TRY(activity.Check());
  auto answer = std::make_shared<Answer>();
  solver::AskId id = ask([answer](Result<solver::ResultHandle> result) {
    std::lock_guard lock(answer->mutex);
    answer->result = std::move(result);
    answer->arrived.notify_all();
  });
  auto withdraw = activity.cancel.OnCancel([scope = scope_, id, token = activity.cancel] {
    Status reason = token.Check();
    scope->Withdraw(id, reason.ok() ? Error(Code::kCancelled, "context canceled") : reason.error());
  });
  std::unique_lock lock(answer->mutex);
  auto ready = [&] { return answer->result.has_value(); };
  if (!activity.deadline) {
    answer->arrived.wait(lock, ready);
  } else if (!answer->arrived.wait_until(lock, *activity.deadline, ready)) {
    lock.unlock();
    scope_->Withdraw(id, DeadlineExceeded("deadline exceeded"));
    lock.lock();
    answer->arrived.wait(lock, ready);
  }
  return std::move(*answer->result);
}

Result<solver::ResultHandle> Reference::Get(const progress::Activity& activity) {
  if (refusal_) return *refusal_;
  {
    std::lock_guard lock(mutex_);
    if (handle_) return *handle_;
  }
  auto handle = Wait(activity, [this](auto done) { return scope_->Get(*edge_, std::move(done)); });
  if (!handle.ok()) return Explain(std::move(handle).error());
  std::lock_guard lock(mutex_);
  handle_ = *handle;
  return handle;
}

Result<store::SnapshotRef> Reference::Evaluate(const progress::Activity& activity) {
  if (is_scratch()) return store::SnapshotRef();
  TRY_ASSIGN(auto handle, Get(activity));
  return cachedb::RefOf(handle);
}

void Reference::EvaluateAsync(std::function<void(Result<store::SnapshotRef>)> done) {
  if (is_scratch()) return done(store::SnapshotRef());
  if (refusal_) return done(*refusal_);
  scope_->Get(*edge_, [this, done = std::move(done)](Result<solver::ResultHandle> handle) {
    if (!handle.ok()) return done(Explain(std::move(handle).error()));
    {
      std::lock_guard lock(mutex_);
      handle_ = *handle;
    }
    done(cachedb::RefOf(*handle));
  });
}

std::optional<store::SnapshotRef> Reference::Evaluated() const {
  if (is_scratch()) return store::SnapshotRef();
  std::lock_guard lock(mutex_);
  if (!handle_) return std::nullopt;
  return cachedb::RefOf(*handle_);
}

Status Reference::Use(const progress::Activity& activity, bool local,
                      const std::function<Status(const store::SnapshotRef&)>& use) {
  if (is_scratch()) return use(store::SnapshotRef());
  for (int attempt = 0;; ++attempt) {
    TRY_ASSIGN(auto handle, Get(activity));
    store::SnapshotRef ref = cachedb::RefOf(handle);
    Status status =
        local && !ref.is_scratch() ? environment_.store->EnsureLocal(activity, ref) : OkStatus();
    if (status.ok()) status = use(ref);
    if (status.ok() || !store::IsLost(status.error()) || attempt == kMaxRepairs) return status;
    TRY(Repair(activity, handle, cachedb::ToSolverError(std::move(status).error())));
  }
}

Status Reference::Repair(const progress::Activity& activity, const solver::ResultHandle& lost,
                         const Error& error) {
  auto repaired =
      Wait(activity, [&](auto done) { return scope_->Repair(lost, error, std::move(done)); });
  if (!repaired.ok()) return Explain(std::move(repaired).error());
  std::lock_guard lock(mutex_);
  handle_ = *repaired;
  return OkStatus();
}

Error Reference::Explain(Error error) const {
  auto vertex = solver::FailedVertex(error);
  if (!vertex || error.FindDetail(llb::kVertexDetailType) != nullptr) return error;
  error.AddDetail(llb::VertexDetail(vertex->ToString()));
  for (auto& detail : llb::SourceDetails(definition_->source(), vertex->ToString())) {
    error.AddDetail(std::move(detail));
  }
  return error;
}

}  // namespace kiln::build
