#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "progress/activity.h"
#include "solver/cache_source.h"
#include "solver/op.h"
#include "solver/scope.h"

namespace kiln::solver {

struct FaultPlan;
class Probe;
class Engine;

struct SolverOptions {
  // Runs at once, per SlotKind; kNone is not limited. Those of kSource, kFile and kHash may wait
  // for a client or a registry, so what all builds together may have is far more than what one may.
  std::array<int, kSlotKinds> slots = {0, 4, 64, 256, 64};
  // Of those, for one build; 0: no limit of its own.
  std::array<int, kSlotKinds> slots_of_one_build = {0, 0, 8, 8, 4};
  int max_nesting = 8;
  // How often one edge is worked out again because its data was lost before that is an error.
  int max_repairs = 8;
  // Memory per run for the output that is kept for builds that join it late, and as much for the
  // other events; older output is left out, with a line saying so.
  size_t backlog_bytes = size_t{1} << 20;
  // Makes the unique part of local ids; null: NewId.
  std::function<std::string()> new_id;
  // Tests only.
  const FaultPlan* faults = nullptr;
  Probe* probe = nullptr;
};

struct JobOptions {
  std::string ref;  // unique among live jobs
  std::vector<std::string> session_ids;
  std::shared_ptr<progress::Sink> sink;  // null: dropped
  std::vector<Importer> importers;
};

// One client build.
class Job : public Scope {
 public:
  virtual const std::string& ref() const = 0;
  // Sessions whose files, credentials and secrets the build's steps may use.
  virtual void AddSession(std::string id) = 0;
  virtual void RemoveSession(const std::string& id) = 0;
};
using JobPtr = std::shared_ptr<Job>;

struct SolverStats {
  size_t vertices = 0;
  size_t edges = 0;
  size_t open_asks = 0;
  size_t flights = 0;
  size_t pending_links = 0;
  size_t slots_in_use = 0;
  size_t locks_held = 0;
  size_t results_held = 0;
  size_t memory_links = 0;
  size_t open_tickets = 0;  // key maps, digests, lookups, claims, prepares not answered
  size_t scopes = 0;
};

// Works out results for all builds of the process. Graph state lives on `loop`, which must outlive
// the solver and what it gave out; public methods may be called from any thread. See
// src/solver/README.md.
class Solver {
 public:
  Solver(TaskQueue& loop, const Clock& clock, LocalCacheSourcePtr local,
         SolverOptions options = {});
  // All jobs should have been discarded and all runs ended (Drain); open asks are dropped
  // unanswered.
  ~Solver();
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;

  // AlreadyExists ("job ID X exists") if a live job has that ref.
  Result<JobPtr> NewJob(JobOptions options);

  // Some data is gone: every live result holding one of the blobs is invalidated now, not when
  // read.
  void MarkLost(std::vector<std::string> blobs);
  // Leases a record of the local source, for exports. NotFound if it is gone.
  void Claim(RecordInfo record, progress::Activity activity, Callback<StoredResultPtr> done);
  // Calls back when no flight is left.
  void Drain(std::function<void()> done);
  // On the loop.
  void Stats(std::function<void(SolverStats)> done);

  // For tests on the loop's thread.
  Engine& engine() { return *engine_; }
  class Refs;

 private:
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Refs> refs_;
};

}  // namespace kiln::solver
