#include "solver/engine.h"

#include <algorithm>

#include "solver/failure.h"

namespace kiln::solver {
namespace {

constexpr const char* kPhaseNames[] = {"idle",    "keys",   "match",  "raise",  "claim", "need",
                                       "prepare", "flight", "follow", "commit", "done"};

}  // namespace

const char* PhaseName(Phase phase) { return kPhaseNames[static_cast<size_t>(phase)]; }

EdgeId Edge::id() const { return {vertex->id, output}; }

Level Edge::goal() const {
  if (!roots.empty()) return Level::kDone;
  Level goal = Level::kNone;
  for (const auto& [key, ask] : asks) {
    goal = std::max(goal, ask.level);
    if (goal == Level::kDone) break;
  }
  return goal;
}

Engine::Engine(TaskQueue& loop, const Clock& clock, LocalCacheSourcePtr local,
               SolverOptions options)
    : loop_(loop),
      clock_(clock),
      options_(std::move(options)),
      faults_(options_.faults != nullptr ? *options_.faults : FaultPlan{}),
      probe_(options_.probe),
      local_(std::move(local)),
      resources_(options_.slots, options_.slots_of_one_build, faults_) {}

void Engine::Post(std::function<void()> task) {
  std::weak_ptr<Engine> weak = weak_from_this();
  loop_.Post([weak = std::move(weak), task = std::move(task)] {
    const auto engine = weak.lock();
    if (engine == nullptr) return;
    task();
    engine->Pump();
  });
}

uint64_t Engine::NewSerial() { return next_serial_.fetch_add(1); }

void Engine::Pump() {
  if (std::exchange(pump_posted_, true)) return;
  loop_.Post([weak = weak_from_this()] {
    if (const auto engine = weak.lock()) engine->WorkOff();
  });
}

void Engine::WorkOff() {
  pump_posted_ = false;
  for (;;) {
    if (!failing_.empty()) {
      auto [edge, error] = std::move(failing_.front());
      failing_.pop_front();
      Fail(*edge, error, false);
    } else if (!dirty_.empty()) {
      Edge* edge = dirty_.front();
      dirty_.pop_front();
      edge->queued = false;
      Step(*edge);
    } else if (std::exchange(owners_changed_, false)) {
      RefreshFanOuts();
    } else if (std::exchange(waits_changed_, false)) {
      BreakCycles();
    } else if (!unowned_.empty()) {
      DestroyUnowned();
    } else if (!answers_.empty()) {
      const auto answer = std::move(answers_.front());
      answers_.pop_front();
      answer();
    } else {
      break;
    }
  }
  if (all_flights_.empty() && !drain_waiters_.empty()) {
    for (const auto& waiter : std::exchange(drain_waiters_, {})) waiter();
  }
}

void Engine::MarkDirty(Edge& edge) {
  if (edge.queued) return;
  edge.queued = true;
  dirty_.push_back(&edge);
}

void Engine::MarkAskersDirty(Edge& edge) {
  for (const auto& [key, ask] : edge.asks) MarkDirty(*ask.asker);
}

// One turn of an edge: from what it knows to what it does next.
void Engine::Step(Edge& edge) {
  if (edge.goal() == Level::kNone) {
    Park(edge);
    return;
  }
  switch (edge.phase) {
    case Phase::kDone:
      AnswerDone(edge);
      return;
    case Phase::kClaim:
    case Phase::kFlight:
    case Phase::kFollow:
    case Phase::kCommit:
      return;  // what it waits for moves it on
    default:
      Advance(edge);
  }
}

void Engine::Advance(Edge& edge) {
  const Level goal = edge.goal();
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    if (edge.inputs[i].asked < Level::kFast) SetAsk(edge, i, Level::kFast);
  }
  NoteResets(edge);
  if (!EnsureKeyMap(edge)) {
    edge.phase = Phase::kKeys;
    return;
  }
  RefreshSources(edge);
  if (!edge.vertex->ignore_cache || faults_.forced_lookup) {
    IssueLookups(edge);
    Match(edge);
    if (goal == Level::kDone && TryClaim(edge)) return;
  }
  UpdateLevel(edge);
  if (edge.level >= goal) {
    edge.phase = Phase::kIdle;
    return;
  }
  if (edge.preparation) {  // already past what follows
    Need(edge);
    return;
  }
  if (!SourcesSettled(edge)) {
    edge.phase = Phase::kMatch;
    return;
  }
  const bool no_match = goal == Level::kDone && NoMatchPossible(edge, true);
  if (!no_match && Raise(edge)) return;
  if (goal == Level::kDone) Need(edge);
}

void Engine::SetAsk(Edge& edge, size_t index, Level level) {
  EdgeInput& input = edge.inputs[index];
  if (input.asked == level) return;
  Edge& from = *input.edge;
  const bool more = level > input.asked;
  input.asked = level;
  const auto key = std::make_pair(edge.serial, index);
  if (level == Level::kNone) {
    from.asks.erase(key);
  } else {
    Ask& ask = from.asks[key];
    ask.asker = &edge;
    ask.level = level;
  }
  waits_changed_ = true;
  if (from.phase == Phase::kDone) {
    if (more) ShowCached(*from.vertex, false);
    return;
  }
  MarkDirty(from);
  if (!more || !from.last_error) return;
  const std::set<uint64_t> jobs = JobsWanting(edge);
  if (!jobs.empty() &&
      std::includes(from.failed_for.begin(), from.failed_for.end(), jobs.begin(), jobs.end())) {
    failing_.emplace_back(&edge, *from.last_error);
  }
}

void Engine::DropInputAsks(Edge& edge) {
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    edge.inputs[i].digest_wanted = false;
    SetAsk(edge, i, Level::kNone);
  }
  ReleaseUnwanted(*edge.vertex);
}

TicketPtr Engine::NewTicket(const Vertex* vertex, bool visible) {
  auto ticket = std::make_shared<Ticket>();
  ticket->serial = NewSerial();
  ticket->sink = std::make_shared<FanOut>(0, faults_);
  if (vertex != nullptr) ticket->op = vertex->op;
  if (vertex != nullptr) RefreshFanOut(*ticket->sink, {vertex});
  if (visible) ticket->sink->Start(clock_.Now());
  open_tickets_[ticket->serial] = {ticket, vertex};
  return ticket;
}

progress::Activity Engine::ActivityFor(const Ticket& ticket) {
  progress::Activity activity;
  activity.cancel = ticket.cancel.token();
  activity.sink = ticket.sink;
  activity.sessions = ticket.sink;
  return activity;
}

void Engine::DropTicket(TicketPtr& ticket) {
  if (ticket == nullptr) return;
  if (ticket->resources != 0 && !ticket->running) {
    resources_.Release(std::exchange(ticket->resources, 0));
  }
  ticket->cancel.Cancel();
  EndTicket(ticket, "context canceled");
}

void Engine::EndTicket(TicketPtr& ticket, const std::string& error, bool show) {
  ticket->live = false;
  if (show) ticket->sink->Show(clock_.Now());
  ticket->sink->Finish(clock_.Now(), error);
  open_tickets_.erase(ticket->serial);
  ticket = nullptr;
}

void Engine::DropLookups(Edge& edge) {
  for (SourceMatch& source : edge.sources) {
    if (source.importer == nullptr || source.open == 0) continue;
    ImporterState& importer = *source.importer;
    importer.waiting.erase(edge.serial);
    importer.open -= source.open;
    if (importer.open == 0 && importer.timer != 0) {
      loop_.CancelTimer(std::exchange(importer.timer, 0));
    }
  }
  DropTicket(edge.lookups);
  edge.sources.clear();
  edge.sources_version = 0;
  const auto waiting = edge.vertex->parts.empty()
                           ? last_matches_.end()
                           : last_matches_.find(edge.vertex->parts.front().digest);
  if (waiting != last_matches_.end()) {
    waiting->second.erase(&edge);
    if (waiting->second.empty()) last_matches_.erase(waiting);
  }
}

// Ends what the edge has going outside, and what it knows from sources.
void Engine::DropWork(Edge& edge) {
  DropLookups(edge);
  DropTicket(edge.claim);
  DropPreparation(edge);
  edge.importing = false;
}

void Engine::ResetMatch(Edge& edge) {
  edge.keys.clear();
  edge.level = Level::kNone;
  ++edge.epoch;
  MarkAskersDirty(edge);
}

// Nobody asks any more.
void Engine::Park(Edge& edge) {
  LeaveFlight(edge);
  if (edge.phase == Phase::kDone) return;
  const bool idle = edge.phase == Phase::kIdle && edge.level == Level::kNone;
  edge.phase = Phase::kIdle;
  DropWork(edge);
  DropInputAsks(edge);
  if (!idle) ResetMatch(edge);
}

// An input that was reset took back its level; so must we.
void Engine::NoteResets(Edge& edge) {
  bool reset = false;
  for (EdgeInput& input : edge.inputs) {
    if (input.epoch_seen == input.edge->epoch) continue;
    reset = reset || input.epoch_seen != 0;
    input.epoch_seen = input.edge->epoch;
  }
  if (!reset || edge.level == Level::kNone) return;
  edge.level = Level::kNone;
  ++edge.epoch;
  MarkAskersDirty(edge);
}

void Engine::SetLevel(Edge& edge, Level level) {
  if (level <= edge.level) return;
  edge.level = level;
  MarkAskersDirty(edge);
}

void Engine::AnswerRoot(Edge& edge, AskId ask, Result<ResultHandle> result) {
  const auto found = edge.roots.find(ask);
  if (found == edge.roots.end()) return;
  auto done = std::move(found->second.done);
  found->second.scope->asks.erase(ask);
  edge.roots.erase(found);
  answers_.push_back([done = std::move(done), result = std::move(result)] { done(result); });
}

void Engine::AnswerDone(Edge& edge) {
  while (!edge.roots.empty()) {
    AnswerRoot(edge, edge.roots.begin()->first,
               ResultHandle(edge.id(), edge.generation, edge.result));
  }
}

void Engine::Finish(Edge& edge, StoredResultPtr result, std::vector<KeyNodePtr> local_keys,
                    std::vector<std::pair<SourceId, RecordId>> records) {
  DropWork(edge);
  // Keys of importers stay: what follows may be stored there only.
  for (KeyNodePtr& key : edge.keys) {
    if (!key->universal && key->IdIn(kLocalSource) == nullptr) local_keys.push_back(key);
  }
  edge.keys = std::move(local_keys);
  edge.result = std::move(result);
  ++edge.generation;
  edge.result_records = std::move(records);
  edge.level = Level::kDone;
  edge.phase = Phase::kDone;
  edge.flight = nullptr;
  edge.lost = false;
  edge.importer_late = false;
  edge.last_error.reset();
  edge.failed_for.clear();
  ShowCached(*edge.vertex, false);  // builds that came too late to see it run
  DropInputAsks(edge);
  if (faults_.leaked_handle) leaked_.push_back(edge.result);
  MarkAskersDirty(edge);
  AnswerDone(edge);
}

void Engine::Fail(Edge& edge, const Error& error, bool origin) {
  if (edge.phase == Phase::kDone || edge.goal() == Level::kNone) return;
  if (origin) {
    const std::set<uint64_t> jobs = JobsWanting(edge);
    edge.failed_for.insert(jobs.begin(), jobs.end());
    edge.last_error = error;
  }
  while (!edge.roots.empty()) AnswerRoot(edge, edge.roots.begin()->first, error);
  const auto asks = std::move(edge.asks);
  edge.asks.clear();
  for (const auto& [key, ask] : asks) {
    ask.asker->inputs[key.second].asked = Level::kNone;
    failing_.emplace_back(ask.asker, error);
  }
  edge.flight = nullptr;  // it has ended, or never was
  Park(edge);
}

}  // namespace kiln::solver
