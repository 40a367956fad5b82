#include "solver/solver.h"

#include <set>

#include "base/mutex.h"
#include "solver/engine.h"
#include "solver/scope_handle.h"

namespace kiln::solver {

// Refs of live jobs; shared with the handles, which give theirs back.
class Solver::Refs {
 public:
  bool Take(const std::string& ref) {
    const MutexLock lock(mutex_);
    return refs_.insert(ref).second;
  }
  void Free(const std::string& ref) {
    const MutexLock lock(mutex_);
    refs_.erase(ref);
  }

 private:
  Mutex mutex_;
  std::set<std::string> refs_ GUARDED_BY(mutex_);
};

namespace {

class JobHandle final : public ScopeHandle<Job> {
 public:
  JobHandle(const std::shared_ptr<Engine>& engine, uint64_t serial, std::string ref,
            std::shared_ptr<Solver::Refs> refs)
      : ScopeHandle<Job>(engine, serial), ref_(std::move(ref)), refs_(std::move(refs)) {}
  ~JobHandle() override { refs_->Free(ref_); }

  const std::string& ref() const override { return ref_; }
  void AddSession(std::string id) override { SetSession(std::move(id), true); }
  void RemoveSession(const std::string& id) override { SetSession(id, false); }

 private:
  void SetSession(std::string id, bool on) {
    Post([serial = serial_, id = std::move(id), on](Engine& engine) {
      engine.SetSession(serial, id, on);
    });
  }

  const std::string ref_;
  const std::shared_ptr<Solver::Refs> refs_;
};

}  // namespace

Solver::Solver(TaskQueue& loop, const Clock& clock, LocalCacheSourcePtr local,
               SolverOptions options)
    : engine_(std::make_shared<Engine>(loop, clock, std::move(local), std::move(options))),
      refs_(std::make_shared<Refs>()) {}

Solver::~Solver() = default;

Result<JobPtr> Solver::NewJob(JobOptions options) {
  if (!refs_->Take(options.ref)) return AlreadyExists("job ID {} exists", options.ref);
  const uint64_t serial = engine_->NewSerial();
  std::string ref = options.ref;
  engine_->Post([engine = engine_.get(), serial, options = std::move(options)] {
    engine->OpenJob(serial, options);
  });
  return JobPtr(std::make_shared<JobHandle>(engine_, serial, std::move(ref), refs_));
}

void Solver::MarkLost(std::vector<std::string> blobs) {
  engine_->Post([engine = engine_.get(), blobs = std::move(blobs)] { engine->MarkLost(blobs); });
}

void Solver::Claim(RecordInfo record, progress::Activity activity, Callback<StoredResultPtr> done) {
  engine_->Post([engine = engine_.get(), record = std::move(record), activity = std::move(activity),
                 done = std::move(done)] { engine->ClaimRecord(record, activity, done); });
}

void Solver::Drain(std::function<void()> done) {
  engine_->Post([engine = engine_.get(), done = std::move(done)] { engine->WhenDrained(done); });
}

void Solver::Stats(std::function<void(SolverStats)> done) {
  engine_->Post([engine = engine_.get(), done = std::move(done)] { engine->AnswerStats(done); });
}

void Engine::ClaimRecord(RecordInfo record, progress::Activity activity,
                         Callback<StoredResultPtr> done) {
  const std::string name = record.origin.vertex_name;
  local_.Claim(std::move(record), std::move(activity),
               [done = std::move(done), name](Result<Claimed> claimed) {
                 if (!claimed.ok()) {
                   done(claimed.error());
                 } else if (claimed->gone || claimed->unavailable) {
                   done(NotFound("the stored result of {} is gone", name));
                 } else {
                   done(std::move(claimed->result));
                 }
               });
}

void Engine::WhenDrained(std::function<void()> done) { drain_waiters_.push_back(std::move(done)); }

void Engine::AnswerStats(std::function<void(SolverStats)> done) {
  answers_.push_back([this, done = std::move(done)] { done(Stats()); });
}

SolverStats Engine::Stats() const {
  SolverStats stats;
  stats.vertices = vertices_.size();
  for (const auto& [id, vertex] : vertices_) {
    stats.edges += vertex->edges.size();
    for (const auto& [output, edge] : vertex->edges) {
      stats.open_asks += edge->roots.size() + edge->asks.size();
      if (edge->result != nullptr) ++stats.results_held;
    }
  }
  stats.flights = all_flights_.size();
  stats.pending_links = pending_.size();
  stats.slots_in_use = resources_.slots_in_use();
  stats.locks_held = resources_.locks_held();
  stats.memory_links = local_.memory_links();
  stats.open_tickets = open_tickets_.size();
  stats.scopes = scopes_.size();
  return stats;
}

const Edge* Engine::FindEdge(EdgeId id) const {
  const auto vertex = vertices_.find(id.vertex);
  if (vertex == vertices_.end()) return nullptr;
  const auto edge = vertex->second->edges.find(id.output);
  return edge == vertex->second->edges.end() ? nullptr : edge->second.get();
}

}  // namespace kiln::solver
