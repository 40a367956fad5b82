#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "solver/fault_plan.h"
#include "solver/solver.h"
#include "solver/stress/checks.h"
#include "solver/stress/model.h"
#include "solver/stress/stress_op.h"
#include "solver/stress/stress_store.h"

namespace kiln::solver::stress {

struct Outcome {
  std::string violation;  // "" if all is well
  std::string trace;      // if asked for
  uint64_t trace_hash = 0;
  int jobs = 0, runs = 0, hits = 0, failures = 0, repairs = 0;
};

// Everything one seed does: another machine's build that makes an importer, a rough main phase,
// then export into an empty store or reopening after a cut.
Outcome RunSeed(uint64_t seed, const FaultPlan& faults, bool keep_trace);

// One solver with jobs, driven to the end.
class Phase {
 public:
  struct Options {
    Weather weather;
    FaultPlan faults;
    std::vector<JobPlan> jobs;
    std::shared_ptr<MemoryCache> imported;  // null: no importer
    ImporterKind importer = ImporterKind::kGood;
    std::vector<StressStore::Write> history;  // the store as it is found
    bool export_last = false;
    bool import_always = false;
    std::string id_prefix;
  };

  Phase(Universe& universe, Book& book, Rng& rng, Options options);
  ~Phase();
  void Run();

  StressStore& store() { return *store_; }
  // With export_last: what the last job's first root leads to, if it was delivered.
  const std::optional<ExportGraph>& exported() const { return exported_; }
  const JobPlan& exported_plan() const { return exported_plan_; }
  std::pair<int, int> exported_root() const { return exported_root_; }
  const std::map<KeyId, PayloadPtr>& live_payloads() const { return live_payloads_; }
  const std::vector<StressStore::Write>& history() const { return store_->history(); }
  std::shared_ptr<MemoryCache> TakeCore() { return store_->TakeCore(); }
  int failures = 0, repairs = 0, hits = 0;

 private:
  struct Live {
    JobPlan plan;
    JobPtr job;
    std::shared_ptr<CheckedSink> sink;
    std::map<int, VertexId> vertices;
    std::map<int, Digest> digests;
    int arrived = 0;
    int open = 0;
    bool cancelled = false;
    bool discarded = false;
    std::set<KeyDigest> wants;
    std::vector<std::pair<std::pair<int, int>, ResultHandle>> held;
  };

  void Start(const JobPlan& plan);
  void OnAnswer(Live& live, std::pair<int, int> root, Result<ResultHandle> result);
  void CheckValue(Live& live, std::pair<int, int> root, const ResultHandle& handle);
  void CheckFailure(Live& live, const Error& error);
  void Disturb();
  void Turn(bool oldest);
  void CheckTurn();
  void AddWanted(const JobPlan& plan, int node, std::set<KeyDigest>& wants);
  bool AllAnswered() const;
  void DiscardJob(Live& live);
  void RepairOne(Live& live);
  void Drain();
  void CheckEnd();
  void Export();

  Universe& universe_;
  Book& book_;
  Rng& rng_;
  Options options_;
  FakeClock clock_;
  ManualQueue loop_;
  Agenda agenda_;
  Agenda late_;
  Field field_;
  std::shared_ptr<StressStore> store_;
  std::shared_ptr<StressImporter> importer_;
  std::unique_ptr<Oracle> oracle_;
  std::unique_ptr<Solver> solver_;
  Justifier justifier_;
  std::vector<std::unique_ptr<Live>> live_;
  size_t next_job_ = 0;
  std::optional<ExportGraph> exported_;
  JobPlan exported_plan_;
  std::pair<int, int> exported_root_;
  std::map<KeyId, PayloadPtr> live_payloads_;
  JobPlan canonical_;
  int idle_ = 0;
};

}  // namespace kiln::solver::stress
