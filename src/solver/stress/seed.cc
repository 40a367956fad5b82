#include "solver/stress/scenario.h"

namespace kiln::solver::stress {
namespace {

Weather RoughWeather(Rng& rng) {
  Weather weather;
  weather.fail = rng.Percent(50) ? 0 : rng.Below(15);
  weather.stall = rng.Percent(70) ? 0 : 4;
  weather.ignore_cancel = rng.Percent(50) ? 0 : 50;
  weather.lose = rng.Percent(50) ? 0 : rng.Below(12);
  weather.collect = rng.Percent(50) ? 0 : rng.Below(12);
  weather.lazy = rng.Percent(50) ? 30 : 90;
  weather.cancel = rng.Percent(50) ? 0 : rng.Below(4);
  weather.fail_save = rng.Percent(90) ? 0 : 10;
  return weather;
}

// The exported graph as another machine's importer would read it.
std::shared_ptr<MemoryCache> CoreOf(const ExportGraph& graph,
                                    const std::map<KeyId, PayloadPtr>& live,
                                    const MemoryCache& store) {
  auto core = std::make_shared<MemoryCache>("exported");
  SaveBatch batch;
  std::vector<KeyId> ids;
  for (const ExportNode& node : graph.nodes) {
    ids.push_back(node.root ? node.exported_id : fmt::format("x{}", ids.size()));
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      for (const ExportNode::Input& input : node.inputs[i]) {
        batch.links.push_back(
            {{ids[input.node], static_cast<int>(i), node.digest, node.output, input.selector},
             ids.back()});
      }
    }
    PayloadPtr payload;
    if (const auto found = live.find(node.id); found != live.end())
      payload = found->second;
    else if (!node.records.empty())
      payload = PayloadOf(store, node.records.front().id);
    if (payload != nullptr) {
      batch.records.push_back({ids.back(), std::make_shared<StoredPayload>(payload)});
    }
  }
  core->SaveNow(batch);
  return core;
}

struct Seed {
  Rng rng;
  Book book;
  Universe universe;
  FaultPlan faults;
  Outcome outcome;

  void Take(const Phase& phase) {
    outcome.failures += phase.failures;
    outcome.repairs += phase.repairs;
    outcome.hits += phase.hits;
  }

  // Row "closure": only sources run again, and what rests on this client's session alone.
  void CheckClosure(Phase& main) {
    const auto [root, output] = main.exported_root();
    JobPlan plan = main.exported_plan();
    if (main.exported()->roots.front().empty()) return;
    // Keys that rest on this client's session are not exported; what leads to them runs again.
    std::vector<int> random;
    for (const int node : universe.Ancestors({root})) {
      if (universe.RandomOnly(node)) random.push_back(node);
    }
    const std::set<int> may_run = universe.Ancestors(random);
    for (const int node : may_run) {
      if (!universe.Deterministic(node)) return;
    }
    plan.ignore.clear();
    plan.bad_secret = false;
    plan.roots = {{root, output}};
    plan.id = 100;
    Phase::Options options;
    options.faults = faults;
    options.imported = CoreOf(*main.exported(), main.live_payloads(), main.store().core());
    options.import_always = true;
    options.jobs = {plan};
    options.id_prefix = "c";
    book.lost_blobs.clear();
    const size_t before = book.runs.size();
    Phase again(universe, book, rng, std::move(options));
    again.Run();
    Take(again);
    for (size_t i = before; i < book.runs.size(); ++i) {
      if (book.runs[i].job < 0) continue;  // nested in one that may
      const Node& node = universe.nodes[static_cast<size_t>(book.runs[i].node)];
      if (node.source != SourceKind::kNone || may_run.contains(node.id)) continue;
      book.Fail("closure",
                fmt::format("node {} ran again from an export of node {}", node.id, root));
    }
  }

  // Row "crash": the store as it was after some write, and new builds on it.
  void CheckCrash(const Phase& main, const std::shared_ptr<MemoryCache>& imported) {
    const auto& history = main.history();
    const auto cut = static_cast<long>(rng.Below(static_cast<int>(history.size()) + 1));
    Phase::Options options;
    options.faults = faults;
    options.weather = RoughWeather(rng);
    options.history.assign(history.begin(), history.begin() + cut);
    options.imported = imported;
    options.id_prefix = "r";
    options.jobs = {universe.Plan(rng, 200), universe.Plan(rng, 201)};
    Phase reopened(universe, book, rng, std::move(options));
    reopened.Run();
    Take(reopened);
  }

  void Run() {
    universe = Universe::Make(rng);
    std::shared_ptr<MemoryCache> imported;
    if (rng.Percent(40)) {
      Phase::Options options;
      options.faults = faults;
      options.id_prefix = "i";
      options.jobs = {universe.Plan(rng, 50)};
      if (rng.Percent(50)) options.jobs.push_back(universe.Plan(rng, 51));
      Phase other(universe, book, rng, std::move(options));
      other.Run();
      Take(other);
      imported = other.TakeCore();
    }
    if (!book.violation.empty()) return;
    Phase::Options options;
    options.faults = faults;
    options.weather = rng.Percent(20) ? Weather{} : RoughWeather(rng);
    options.imported = imported;
    options.importer = static_cast<ImporterKind>(rng.Below(4));
    options.id_prefix = "k";
    for (int id = 0; id < universe.jobs; ++id) options.jobs.push_back(universe.Plan(rng, id));
    const int after = rng.Below(3);
    if (after == 1) {  // an export is whole only if nothing was lost
      options.weather.lose = options.weather.collect = options.weather.fail_save = 0;
    }
    options.export_last = after == 1;
    Phase main(universe, book, rng, std::move(options));
    main.Run();
    Take(main);
    if (!book.violation.empty()) return;
    if (after == 1 && main.exported()) CheckClosure(main);
    if (after == 2) CheckCrash(main, imported);
  }
};

}  // namespace

Outcome RunSeed(uint64_t number, const FaultPlan& faults, bool keep_trace) {
  Seed seed{Rng(number), {}, {}, faults, {}};
  seed.book.keep_trace = keep_trace;
  seed.Run();
  seed.outcome.violation = seed.book.violation;
  seed.outcome.trace = std::move(seed.book.trace);
  seed.outcome.trace_hash = seed.book.trace_hash;
  seed.outcome.runs = static_cast<int>(seed.book.runs.size());
  seed.outcome.jobs = seed.universe.jobs;
  return seed.outcome;
}

}  // namespace kiln::solver::stress
