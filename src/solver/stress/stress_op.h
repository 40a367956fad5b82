#pragma once

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "solver/op.h"
#include "solver/stress/book.h"
#include "solver/stress/model.h"

namespace kiln::solver::stress {

// How rough a phase of a seed is.
struct Weather {
  int fail = 0;           // percent of runs that fail
  int stall = 0;          // percent that only end when cancelled
  int ignore_cancel = 0;  // percent that go on although cancelled
  int lose = 0;           // percent of turns on which a blob is lost
  int collect = 0;        // percent of turns on which a record is collected
  int cancel = 0;         // percent of turns on which a job is cancelled
  int lazy = 30;          // percent of claims that give lazy results
  int fail_save = 0;
  bool drain = false;  // nothing stalls any more
};

class StressOp;

// Runs that are going on, for the oracle.
struct LiveRun {
  int id = 0;
  const StressOp* op = nullptr;
  std::weak_ptr<RunContext> context;
  CancelToken cancel;
};

// What ops of one phase share.
struct Field {
  Universe& universe;
  Book& book;
  Agenda& agenda;
  Rng& rng;
  Weather weather;
  FakeClock& clock;
  std::array<int, kSlotKinds> slots{};
  std::array<int, kSlotKinds> in_use{};
  std::map<std::string, int> locks{};
  std::map<int, LiveRun> live{};
  std::map<int, int> logged{};            // run → lines written
  std::map<int, int> arrivals{};          // of jobs, in turns
  std::set<std::string> gone_sessions{};  // of discarded jobs
  int source_runs = 0;
  int op_runs = 0;
};

class StressOp final : public Op {
 public:
  StressOp(Field& field, const Node& node, const JobPlan& job)
      : field_(field), node_(node), job_(job) {}

  int output_count() const override { return node_.outputs; }
  OpIdentity identity() const override { return {"stress", node_.identity, "", ""}; }
  void KeyMap(int part, progress::Activity activity, Callback<KeyMapPart> done) override;
  bool ShowsKeyMap() const override { return node_.shows_key_map; }
  void ContentDigest(int input, ResultHandle result, progress::Activity activity,
                     Callback<std::string> done) override;
  void Prepare(int input, ResultHandle result, progress::Activity activity,
               StatusCallback done) override;
  RunNeeds needs() const override { return node_.needs; }
  void Run(std::shared_ptr<RunContext> context, Callback<RunOutput> done) override;

  const Node& node() const { return node_; }
  const JobPlan& job() const { return job_; }

 private:
  struct Going {
    std::shared_ptr<RunContext> context;
    Callback<RunOutput> done;
    int run = 0;
    int steps = 0;
    bool stall = false;
    bool deaf = false;
    bool fails = false;
    ScopePtr scope;
    bool nested_open = false;
    bool nested_failed = false;
  };
  void Step(const std::shared_ptr<Going>& going);
  void SolveNested(const std::shared_ptr<Going>& going);
  void Log(const Going& going);
  void End(const std::shared_ptr<Going>& going, Result<RunOutput> output);
  RunOutput Output(const Going& going);
  void TakeResources();
  void FreeResources();

  Field& field_;
  const Node node_;
  const JobPlan job_;
};

// The graph that leads to these nodes, inputs first; `at` gives each node's index.
std::vector<VertexSpec> GraphOf(Field& field, const JobPlan& job, const std::vector<int>& roots,
                                std::map<int, size_t>& at);

}  // namespace kiln::solver::stress
