#include "solver/stress/scenario.h"

#include <algorithm>

#include "solver/engine.h"
#include "solver/lost.h"

namespace kiln::solver::stress {
namespace {

constexpr int kMaxTurns = 1200;

SolverOptions OptionsOf(const Phase::Options& options, const Field& field, Probe* probe) {
  SolverOptions solver;
  solver.slots = field.slots;
  solver.max_repairs = 1000;
  solver.max_nesting = 4;
  solver.faults = &options.faults;
  solver.probe = probe;
  int next = 0;
  solver.new_id = [prefix = options.id_prefix, next]() mutable {
    return fmt::format("{}{:05}", prefix, next++);
  };
  return solver;
}

}  // namespace

Phase::Phase(Universe& universe, Book& book, Rng& rng, Options options)
    : universe_(universe),
      book_(book),
      rng_(rng),
      options_(std::move(options)),
      agenda_(rng),
      late_(rng),
      field_{universe, book, agenda_, rng, options_.weather, clock_},
      store_(std::make_shared<StressStore>(book, agenda_, rng)),
      justifier_(universe, book),
      canonical_(universe.Canonical()) {
  book_.starts.clear();
  book_.excuses.clear();
  book_.failed.clear();
  field_.slots = {0, 1 + rng.Below(3), 1 + rng.Below(3), 1 + rng.Below(2), 1 + rng.Below(2)};
  store_->set_lazy_percent(options_.weather.lazy);
  store_->set_fail_saves(options_.weather.fail_save);
  for (const StressStore::Write& write : options_.history) write(store_->core());
  store_->Reopened();
  oracle_ = std::make_unique<Oracle>(field_, *store_, options_.imported);
  solver_ =
      std::make_unique<Solver>(loop_, clock_, store_, OptionsOf(options_, field_, oracle_.get()));
  if (options_.imported != nullptr) {
    importer_ = std::make_shared<StressImporter>(book_, agenda_, late_, rng_, options_.imported,
                                                 options_.importer);
  }
}

Phase::~Phase() {
  live_.clear();
  solver_.reset();
  agenda_.Clear();
  late_.Clear();
  loop_.RunAll();
}

void Phase::Start(const JobPlan& plan) {
  auto owned = std::make_unique<Live>();
  Live& live = *owned;
  live.plan = plan;
  live.arrived = field_.arrivals[plan.id] = book_.turn;
  live.sink = std::make_shared<CheckedSink>(book_, plan.id);
  JobOptions options;
  options.ref = fmt::format("job {}", plan.id);
  options.session_ids = {fmt::format("session of {}", plan.id)};
  options.sink = live.sink;
  if (importer_ != nullptr && (options_.import_always || rng_.Percent(70))) {
    options.importers.push_back({importer_, std::chrono::seconds(5)});
  }
  live.job = *solver_->NewJob(std::move(options));
  std::vector<int> roots;
  for (const auto& [node, output] : plan.roots) roots.push_back(node);
  std::map<int, size_t> at;
  const std::vector<VertexSpec> graph = GraphOf(field_, live.plan, roots, at);
  const auto ids = live.job->Load(graph);
  for (const auto& [node, index] : at) {
    live.vertices[node] = (*ids)[index];
    live.digests[node] = graph[index].digest;
    oracle_->NoteVertex((*ids)[index], universe_.nodes[static_cast<size_t>(node)], plan.id);
    AddWanted(plan, node, live.wants);
  }
  book_.Trace(fmt::format("job {} arrives", plan.id));
  for (const auto& root : plan.roots) {
    ++live.open;
    live.job->Get({live.vertices.at(root.first), root.second},
                  [this, &live, root](Result<ResultHandle> result) {
                    OnAnswer(live, root, std::move(result));
                  });
  }
  live_.push_back(std::move(owned));
}

// Digests of everything the job may have run for it, nested graphs too.
void Phase::AddWanted(const JobPlan& plan, int node, std::set<KeyDigest>& wants) {
  std::vector<std::pair<const JobPlan*, int>> todo{{&plan, node}};
  std::set<std::pair<const JobPlan*, int>> seen;
  while (!todo.empty()) {
    const auto next = todo.back();
    todo.pop_back();
    if (!seen.insert(next).second) continue;
    const Node& at = universe_.nodes[static_cast<size_t>(next.second)];
    for (KeyDigest& digest : universe_.Digests(*next.first, at)) wants.insert(std::move(digest));
    if (at.nested < 0) continue;
    for (const int inner : universe_.Ancestors({at.nested})) todo.emplace_back(&canonical_, inner);
  }
}

void Phase::OnAnswer(Live& live, std::pair<int, int> root, Result<ResultHandle> result) {
  --live.open;
  book_.Trace(fmt::format("job {} gets node {}: {}", live.plan.id, root.first,
                          result.ok() ? "a result" : result.error().ToString()));
  if (!result.ok()) {
    ++failures;
    CheckFailure(live, result.error());
    return;
  }
  CheckValue(live, root, *result);
  if (result->result() == nullptr) return;
  if (!live.cancelled) live.sink->Delivered(live.digests.at(root.first));
  if (!live.discarded) live.held.emplace_back(root, *result);
}

void Phase::CheckValue(Live& live, std::pair<int, int> root, const ResultHandle& handle) {
  const auto [node, output] = root;
  if (handle.result() == nullptr) return book_.Fail("lease", "a result without data");
  if (universe_.ContainsItself(node)) {
    return book_.Fail("value", "a step that contains itself has a result");
  }
  const PayloadPtr& payload = AsStress(handle.result()).payload();
  if (!justifier_.Holds(live.plan, node, output, payload)) {
    book_.Fail("value", fmt::format("job {} got run {} for node {} output {}", live.plan.id,
                                    payload->run, node, output));
  }
  const RunRecord& run = book_.runs[static_cast<size_t>(payload->run)];
  if (universe_.Tainted(live.plan, node) && run.began < live.arrived) {
    book_.Fail("forced", fmt::format("job {} came at {}, got run {} of {}", live.plan.id,
                                     live.arrived, run.id, run.began));
  }
}

void Phase::CheckFailure(Live& live, const Error& error) {
  const std::string text = error.ToString();
  if (error.code() == Code::kCancelled && live.cancelled) return;
  bool nested = false;
  bool recursive = false;
  for (const auto& [node, id] : live.vertices) {
    nested = nested || universe_.nodes[static_cast<size_t>(node)].nested >= 0;
    recursive = recursive || universe_.ContainsItself(node);
  }
  if (recursive && (text.find("contains itself") != std::string::npos ||
                    text.find("nested more than") != std::string::npos)) {
    return;
  }
  int job = 0, node = 0;
  const size_t at = text.find("fail:");
  if (at == std::string::npos || std::sscanf(text.c_str() + at, "fail:%d:%d", &job, &node) != 2) {
    return book_.Fail("isolation", fmt::format("job {} fails with: {}", live.plan.id, text));
  }
  if (job == live.plan.id || (job == -1 && nested)) return;
  for (const auto& other : live_) {
    if (other->plan.id != job) continue;
    const auto theirs = other->vertices.find(node);
    const auto mine = live.vertices.find(node);
    if (theirs != other->vertices.end() && mine != live.vertices.end() &&
        theirs->second == mine->second) {
      return;  // the same vertex
    }
  }
  book_.Fail("isolation",
             fmt::format("job {} fails with what failed for job {}: {}", live.plan.id, job, text));
}

void Phase::DiscardJob(Live& live) {
  if (live.discarded) return;
  book_.Trace(fmt::format("job {} is discarded", live.plan.id));
  live.discarded = live.cancelled = true;
  live.held.clear();
  field_.gone_sessions.insert(fmt::format("session of {}", live.plan.id));
  live.job->Discard();
  live.job = nullptr;
}

void Phase::RepairOne(Live& live) {
  if (live.held.empty() || live.discarded || live.cancelled) return;
  const auto [root, handle] = live.held.back();
  StressResult& result = AsStress(handle.result());
  if (!result.lazy() || !book_.Lost(*result.payload())) return;
  live.held.pop_back();
  ++repairs;
  ++live.open;
  book_.Trace(fmt::format("job {} finds node {} lost", live.plan.id, root.first));
  live.job->Repair(handle, LostError(result.payload()->blobs, "blob unknown"),
                   [this, &live, root = root](Result<ResultHandle> again) {
                     OnAnswer(live, root, std::move(again));
                   });
}

void Phase::Disturb() {
  const Weather& weather = field_.weather;
  if (rng_.Percent(weather.collect) && store_->Collect()) book_.Trace("a record is collected");
  if (rng_.Percent(weather.lose) && !book_.payloads.empty()) {
    const auto& payload =
        book_.payloads[static_cast<size_t>(rng_.Below(static_cast<int>(book_.payloads.size())))];
    const std::string blob = payload->blobs.front();
    book_.lost_blobs.insert(blob);
    book_.Trace("lost: " + blob);
    if (rng_.Percent(50)) solver_->MarkLost({blob});
  }
  if (live_.empty()) return;
  Live& live = *live_[static_cast<size_t>(rng_.Below(static_cast<int>(live_.size())))];
  if (live.discarded) return;
  if (live.open == 0 && weather.lose > 0) RepairOne(live);
  if (live.open == 0 && rng_.Percent(5)) {
    DiscardJob(live);
  } else if (!live.cancelled && rng_.Percent(weather.cancel)) {
    book_.Trace(fmt::format("job {} is cancelled", live.plan.id));
    live.cancelled = true;
    if (rng_.Percent(50))
      DiscardJob(live);
    else
      live.job->Cancel(Cancelled("stopped by the test"));
  }
}

void Phase::Turn(bool oldest) {
  ++book_.turn;
  clock_.Advance(std::chrono::milliseconds(1));
  if (next_job_ < options_.jobs.size() && (agenda_.empty() || rng_.Percent(8))) {
    Start(options_.jobs[next_job_++]);
  } else if (!agenda_.empty()) {
    const auto [what, complete] = agenda_.Take(oldest);
    if (book_.keep_trace) book_.Trace("· " + what);
    complete();
  } else {
    loop_.Advance(std::chrono::seconds(1));
  }
  if (options_.importer != ImporterKind::kNever && !late_.empty() && rng_.Percent(3)) {
    late_.Take(false).second();
  }
  if (rng_.Percent(1)) loop_.Advance(std::chrono::seconds(2));
  loop_.RunAll();
  store_->Delivered();
  CheckTurn();
}

bool Phase::AllAnswered() const {
  return std::all_of(live_.begin(), live_.end(), [](const auto& live) { return live->open == 0; });
}

void Phase::CheckTurn() {
  for (const auto& [id, run] : field_.live) {
    if (run.cancel.cancelled()) continue;
    const auto digests = universe_.Digests(run.op->job(), run.op->node());
    const bool wanted = std::any_of(live_.begin(), live_.end(), [&](const auto& live) {
      if (live->open == 0) return false;
      return std::any_of(digests.begin(), digests.end(),
                         [&](const KeyDigest& digest) { return live->wants.contains(digest); });
    });
    if (!wanted) book_.Fail("cancel", fmt::format("run {} is not wanted, and not told", id));
  }
  for (const auto& [id, vertex] : solver_->engine().vertices()) {
    for (const auto& [output, edge] : vertex->edges) {
      if (edge->phase == solver::Phase::kFlight && edge->flight->cancelled &&
          edge->flight->leader == edge.get()) {
        book_.Fail("cancel", vertex->name + " is wanted, but was cancelled");
      }
    }
  }
  if (AllAnswered()) {
    const SolverStats stats = solver_->engine().Stats();
    if (stats.open_tickets > 0) book_.Fail("cancel", "nobody asks, but work is open");
    if (stats.open_asks > 0) book_.Fail("progress", "nobody asks, but asks are open");
  }
}

void Phase::Run() {
  for (int turn = 0; turn < kMaxTurns && book_.violation.empty(); ++turn) {
    if (next_job_ == options_.jobs.size() && agenda_.empty() && AllAnswered()) break;
    Turn(false);
    if (book_.violation.empty()) Disturb();
    loop_.RunAll();
  }
  if (book_.violation.empty()) Drain();
  if (book_.violation.empty() && options_.export_last) Export();
  if (book_.violation.empty()) CheckEnd();
  hits = oracle_->hits;
}

// From here on everything answers: then every job must end.
void Phase::Drain() {
  field_.weather = Weather{};
  field_.weather.drain = true;
  for (int turn = 0; turn < 20000 && book_.violation.empty(); ++turn) {
    if (next_job_ == options_.jobs.size() && agenda_.empty()) {
      if (AllAnswered()) return;
      if (options_.importer == ImporterKind::kLate && !late_.empty()) late_.Take(true).second();
      const size_t before = loop_.timers() + loop_.pending() + late_.size();
      loop_.Advance(std::chrono::seconds(30));
      loop_.RunAll();
      store_->Delivered();
      if (before == 0 && agenda_.empty() && !AllAnswered()) break;
      if (before == late_.size() && agenda_.empty() && ++idle_ > 50) break;
      continue;
    }
    Turn(true);
  }
  for (const auto& live : live_) {
    if (live->open > 0) {
      book_.Fail("progress", fmt::format("job {} never ends", live->plan.id));
      return;
    }
  }
}

void Phase::Export() {
  for (const auto& live : live_) {
    if (live->discarded || live->cancelled || live->held.empty()) continue;
    const auto root = live->held.front().first;
    bool failed = false;
    live->job->Export({{live->vertices.at(root.first), root.second}},
                      [&](Result<ExportGraph> graph) {
                        if (graph.ok())
                          exported_ = std::move(*graph);
                        else
                          failed = true;
                      });
    loop_.RunAll();
    while (!exported_ && !failed && !agenda_.empty()) {
      agenda_.Take(true).second();
      loop_.RunAll();
    }
    if (!exported_) continue;
    exported_root_ = root;
    exported_plan_ = live->plan;
    return;
  }
}

void Phase::CheckEnd() {
  for (auto& live : live_) DiscardJob(*live);
  loop_.RunAll();
  while (!agenda_.empty()) {
    agenda_.Take(true).second();
    loop_.RunAll();
  }
  if (exported_) {
    for (ExportNode& node : exported_->nodes) {
      if (!node.live || node.live->result() == nullptr) continue;
      live_payloads_[node.id] = AsStress(node.live->result()).payload();
      node.live.reset();
    }
  }
  for (const auto& live : live_) live->sink->End();
  oracle_->CheckWaste();
  const SolverStats stats = solver_->engine().Stats();
  auto none = [&](size_t count, const char* what) {
    if (count > 0) book_.Fail("lease", fmt::format("{} {} are left", count, what));
  };
  none(stats.vertices, "vertices");
  none(stats.flights, "flights");
  none(stats.pending_links, "pending links");
  none(stats.slots_in_use, "slots");
  none(stats.locks_held, "locks");
  none(stats.memory_links, "links in memory");
  none(stats.open_tickets, "open tickets");
  none(stats.scopes, "scopes");
  none(static_cast<size_t>(book_.leases), "leases");
}

}  // namespace kiln::solver::stress
