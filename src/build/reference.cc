#include "build/reference.h"

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
  Mutex mutex;
  CondVar arrived;
  std::optional<Result<solver::ResultHandle>> result GUARDED_BY(mutex);
};

// The answers that EvaluateAll waits for.
struct Round {
  explicit Round(size_t count) : open(count) {}

  void Answer(Status status) EXCLUDES(mutex) {
    MutexLock lock(mutex);
    --open;
    if (!status.ok() && !failure) failure = std::move(status).error();
    changed.NotifyAll();
  }
  void GiveUp(Error reason) EXCLUDES(mutex) {
    MutexLock lock(mutex);
    if (!failure) failure = std::move(reason);
    changed.NotifyAll();
  }
  // Until all have answered, or one has failed; then why.
  Status Wait(std::optional<SteadyTime> deadline) EXCLUDES(mutex) {
    MutexLock lock(mutex);
    const auto over = [this]() REQUIRES(mutex) { return open == 0 || failure.has_value(); };
    if (!deadline) {
      changed.Wait(lock, over);
    } else if (!changed.WaitUntil(lock, *deadline, over)) {
      failure = DeadlineExceeded("deadline exceeded");
    }
    if (failure) return *failure;
    return OkStatus();
  }
  void WaitForAll() EXCLUDES(mutex) {
    MutexLock lock(mutex);
    while (open > 0) changed.Wait(lock);
  }

  Mutex mutex;
  CondVar changed;
  size_t open GUARDED_BY(mutex);
  std::optional<Error> failure GUARDED_BY(mutex);
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
    MutexLock lock(answer->mutex);
    answer->result = std::move(result);
    answer->arrived.NotifyAll();
  });
  auto withdraw = activity.cancel.OnCancel([scope = scope_, id, token = activity.cancel] {
    Status reason = token.Check();
    scope->Withdraw(id, reason.ok() ? Error(Code::kCancelled, "context canceled") : reason.error());
  });
  MutexLock lock(answer->mutex);
  auto ready = [&]() REQUIRES(answer->mutex) { return answer->result.has_value(); };
  if (!activity.deadline) {
    answer->arrived.Wait(lock, ready);
  } else if (!answer->arrived.WaitUntil(lock, *activity.deadline, ready)) {
    lock.Unlock();
    scope_->Withdraw(id, DeadlineExceeded("deadline exceeded"));
    lock.Lock();
    answer->arrived.Wait(lock, ready);
  }
  return std::move(*answer->result);
}

Result<solver::ResultHandle> Reference::Get(const progress::Activity& activity) {
  if (refusal_) return *refusal_;
  {
    MutexLock lock(mutex_);
    if (handle_) return *handle_;
  }
  auto handle = Wait(activity, [this](auto done) { return scope_->Get(*edge_, std::move(done)); });
  if (!handle.ok()) return Explain(std::move(handle).error());
  MutexLock lock(mutex_);
  handle_ = *handle;
  return handle;
}

Result<store::SnapshotRef> Reference::Evaluate(const progress::Activity& activity) {
  if (is_scratch()) return store::SnapshotRef();
  TRY_ASSIGN(auto handle, Get(activity));
  return cachedb::RefOf(handle);
}

solver::AskId Reference::EvaluateAsync(std::function<void(Result<store::SnapshotRef>)> done) {
  if (refusal_) return done(*refusal_), 0;
  if (auto known = Evaluated()) return done(*std::move(known)), 0;
  return scope_->Get(*edge_, [self = shared_from_this(),
                              done = std::move(done)](Result<solver::ResultHandle> handle) {
    if (!handle.ok()) return done(self->Explain(std::move(handle).error()));
    {
      MutexLock lock(self->mutex_);
      self->handle_ = *handle;
    }
    done(cachedb::RefOf(*handle));
  });
}

void Reference::Withdraw(solver::AskId ask, Error reason) {
  if (ask != 0) scope_->Withdraw(ask, std::move(reason));
}

Status EvaluateAll(const progress::Activity& activity,
                   const std::vector<ReferencePtr>& references) {
  TRY(activity.Check());
  // Callbacks hold it: it outlives this call where they come late.
  const auto round = std::make_shared<Round>(references.size());
  std::vector<solver::AskId> asks;
  asks.reserve(references.size());
  for (const ReferencePtr& reference : references) {
    asks.push_back(reference->EvaluateAsync([round](Result<store::SnapshotRef> snapshot) {
      round->Answer(snapshot.ok() ? OkStatus() : Status(std::move(snapshot).error()));
    }));
  }
  const auto link = activity.cancel.OnCancel([round, token = activity.cancel] {
    const Status reason = token.Check();
    round->GiveUp(reason.ok() ? Cancelled("context canceled") : reason.error());
  });
  Status status = round->Wait(activity.deadline);
  if (status.ok()) return status;
  for (size_t i = 0; i < references.size(); ++i) references[i]->Withdraw(asks[i], status.error());
  round->WaitForAll();
  return status;
}

std::optional<store::SnapshotRef> Reference::Evaluated() const {
  if (is_scratch()) return store::SnapshotRef();
  MutexLock lock(mutex_);
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
  MutexLock lock(mutex_);
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
