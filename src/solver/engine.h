#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "solver/fault_plan.h"
#include "solver/graph.h"
#include "solver/local_view.h"
#include "solver/probe.h"
#include "solver/resources.h"
#include "solver/solver.h"

namespace kiln::solver {

// All graph state and what changes it. Everything runs on the loop; `Solver`, `Job` and
// `RunContext` post to it. Edges that something happened to stand in a queue; Step() works out what
// each does next from what it knows, so that no event needs a handler per phase and nothing
// recurses along the graph.
//
// engine.cc      the queue, asks, done and failed
// edge_keys.cc   key maps, content digests
// edge_match.cc  lookups, common children, candidates
// edge_raise.cc  levels, what to ask inputs for next
// edge_claim.cc  claims, imports
// edge_need.cc   inputs Done, prepare, last match
// flight.cc      flights: resolve, follow, queue, run;  flight_end.cc: commit, failure
// repair.cc      lost results
// interest.cc    who wants what: jobs, sessions, sinks, importers; cycles of waits
// scopes.cc      jobs and nested scopes;  vertices.cc: loading and destroying
// export_walk.cc
class Engine : public std::enable_shared_from_this<Engine> {
 public:
  Engine(TaskQueue& loop, const Clock& clock, LocalCacheSourcePtr local, SolverOptions options);

  // --- from any thread
  // Runs `task` on the loop and has the queue worked off; dropped if the engine is gone by then.
  void Post(std::function<void()> task);
  uint64_t NewSerial();
  const SolverOptions& options() const { return options_; }
  const Clock& clock() const { return clock_; }

  // --- scopes (scopes.cc, vertices.cc)
  void OpenJob(uint64_t serial, JobOptions options);
  void OpenNested(uint64_t serial, const FlightPtr& flight);
  void Load(uint64_t scope, std::vector<VertexSpec> graph, std::vector<VertexId> ids);
  void AddImporter(uint64_t scope, const Importer& importer);
  void SetSession(uint64_t scope, const std::string& id, bool on);
  void Get(uint64_t scope, AskId ask, EdgeId edge, Callback<ResultHandle> done);
  void Withdraw(uint64_t scope, AskId ask, Error reason);
  void Repair(uint64_t scope, AskId ask, const ResultHandle& lost, const Error& error,
              Callback<ResultHandle> done);
  void Cancel(uint64_t scope, const Error& reason);
  void Discard(uint64_t scope, std::function<void()> done);
  void Export(uint64_t scope, const std::vector<EdgeId>& edges, Callback<ExportGraph> done);

  // --- solver
  void MarkLost(const std::vector<std::string>& blobs);
  void ClaimRecord(RecordInfo record, progress::Activity activity, Callback<StoredResultPtr> done);
  void WhenDrained(std::function<void()> done);
  SolverStats Stats() const;
  // When all that was asked before has been worked off.
  void AnswerStats(std::function<void(SolverStats)> done);

  // --- for tests
  const std::map<VertexId, std::unique_ptr<Vertex>>& vertices() const { return vertices_; }
  const Edge* FindEdge(EdgeId id) const;

 private:
  // engine.cc
  // Has the queue worked off when the loop has taken in what else has happened already: an edge
  // that waits for many answers takes one turn for those that came together.
  void Pump();
  void WorkOff();
  void Step(Edge& edge);
  void Advance(Edge& edge);
  void MarkDirty(Edge& edge);
  void MarkAskersDirty(Edge& edge);
  void SetAsk(Edge& edge, size_t input, Level level);
  void DropInputAsks(Edge& edge);
  void Park(Edge& edge);
  void ResetMatch(Edge& edge);
  void DropWork(Edge& edge);
  void DropLookups(Edge& edge);
  TicketPtr NewTicket(const Vertex* vertex, bool visible);
  void DropTicket(TicketPtr& ticket);
  // `show`: the work counts as a step, even if it was to stay invisible until now (it failed).
  void EndTicket(TicketPtr& ticket, const std::string& error, bool show = false);
  void AnswerDone(Edge& edge);
  void Finish(Edge& edge, StoredResultPtr result, std::vector<KeyNodePtr> local_keys,
              std::vector<std::pair<SourceId, RecordId>> records);
  // `origin`: the failure is this edge's own; it is remembered for the jobs that wanted it.
  void Fail(Edge& edge, const Error& error, bool origin);
  void SetLevel(Edge& edge, Level level);
  // A callback that comes back to the loop; ignored once the ticket is dropped.
  template <typename T, typename F>
  Callback<T> Bind(TicketPtr ticket, F function);
  static progress::Activity ActivityFor(const Ticket& ticket);

  // edge_keys.cc
  bool EnsureKeyMap(Edge& edge);
  void RequestPart(Vertex& vertex);
  void OnPart(Vertex& vertex, Result<KeyMapPart> part);
  bool WantDigest(Edge& edge, size_t input);
  void StartDigest(Vertex& vertex, size_t input);
  void OnDigest(Vertex& vertex, size_t input, const ResultHandle& of, Result<std::string> digest);
  void ReleaseUnwanted(Vertex& vertex);
  const KeyNodePtr* ContentKey(const Edge& edge, size_t input) const;
  // Edges of the vertex that are waiting for its key map, or for that input's content digest.
  void FailWaiting(Vertex& vertex, std::optional<size_t> digest_of, const Error& error);

  // edge_match.cc
  struct Usable {
    KeyNodePtr node;
    std::string selector;
    bool lookup = true;  // else for saving only
  };
  std::vector<Usable> Alternatives(const Edge& edge, size_t input) const;
  std::vector<KeyNodePtr> RootKeys(const Edge& edge) const;
  bool Tainted(const Edge& edge) const;
  void RefreshSources(Edge& edge);
  void NoteResets(Edge& edge);
  void IssueLookups(Edge& edge);
  void AskLinks(Edge& edge, SourceMatch& source, int output, bool all_alternatives,
                std::vector<LinkTuple>& tuples) const;
  void SendLinks(Edge& edge, SourceMatch& source, std::vector<LinkTuple> tuples);
  void SendRecords(Edge& edge, SourceMatch& source, std::vector<KeyId> ids);
  void Opened(Edge& edge, SourceMatch& source);
  void Answered(Edge& edge, SourceMatch& source);
  static SourceMatch* SourceOf(Edge& edge, SourceId id);
  ChildMap ChildrenOf(const Edge& edge, const SourceMatch& source, size_t input) const;
  ChildMap CommonChildren(const Edge& edge, const SourceMatch& source) const;
  void Match(Edge& edge);
  bool Settled(const Edge& edge, const SourceMatch& source) const;
  bool SourcesSettled(Edge& edge);
  void OnImporterTimer(ImporterState& importer);

  // edge_raise.cc
  bool InputExhausted(const Edge& edge, size_t input) const;
  bool NoMatchPossible(const Edge& edge, bool records) const;
  bool AllExhausted(const Edge& edge) const;
  bool RootHit(const Edge& edge) const;
  void UpdateLevel(Edge& edge);
  bool Raise(Edge& edge);
  bool RaiseUnmatched(Edge& edge, size_t input);
  void RaiseInput(Edge& edge, size_t input, Level level);
  bool KeysUnseen(const Edge& edge) const;

  // edge_claim.cc
  struct Candidate {
    SourceId source = kLocalSource;
    ImporterPtr importer;
    RecordInfo record;
    KeyId child;
    // Of each input, as they stood when the record was chosen.
    std::vector<std::vector<KeyAlternative>> alternatives;
    std::vector<KeyId> content;
    uint64_t seq = 0;
    std::vector<std::pair<uint64_t, RecordInfo>> rivals;  // for the probe
    KeyId local_child;  // of an importer's candidate: the local key that matched too, or ""
  };
  std::optional<Candidate> BestCandidate(Edge& edge, SourceMatch& source);
  bool TryClaim(Edge& edge);
  void StartClaim(Edge& edge, Candidate candidate);
  void OnClaim(Edge& edge, const Candidate& candidate, Result<Claimed> claimed);
  void FinishLocalHit(Edge& edge, const Candidate& candidate, StoredResultPtr result);
  void Import(Edge& edge, const Candidate& candidate, Claimed claimed);
  KeyId ImportedId(Edge& edge, const Candidate& candidate, SaveBatch& batch);
  KeyNodePtr KeyForChild(const Edge& edge, SourceId source, const KeyId& child) const;
  std::vector<std::vector<KeyAlternative>> Snapshot(const Edge& edge) const;
  std::vector<Link> LinksTo(const Edge& edge, const Candidate& candidate, const KeyId& child) const;
  void EnsureLocalIds(const KeyNodePtr& node, SaveBatch& batch);
  KeyId MintId(bool memory);

  // edge_need.cc
  void Need(Edge& edge);
  bool InputsReady(Edge& edge);
  void StartPrepare(Edge& edge);
  void OnPrepared(Edge& edge, size_t input, const Status& status);
  void DropPreparation(Edge& edge);
  bool PreparationValid(const Edge& edge) const;
  void LastMatch(Edge& edge);

  // flight.cc
  struct Resolved {
    std::vector<std::vector<KeyId>> ids;  // per output
    std::vector<KeyId> minted;
    bool saved = true;
    bool memory = false;
  };
  Resolved Resolve(Edge& edge);
  std::vector<KeyId> ResolveOutput(const Edge& edge, int output) const;
  std::vector<std::vector<std::pair<KeyId, std::string>>> ResolutionParents(const Edge& edge) const;
  std::vector<LinkTuple> TuplesOf(const Edge& edge) const;
  void EnterFlight(Edge& edge);
  FlightPtr FlightOf(const Resolved& resolved) const;
  bool ContainsItself(const Edge& edge, const Resolved& resolved) const;
  void Follow(Edge& edge, const FlightPtr& flight);
  void Lead(Edge& edge, Resolved resolved, bool solitary);
  void AddLinks(Flight& flight, const Edge& edge);
  void ProbeStart(const Edge& edge, const Flight& flight, bool solitary);
  void StartRun(const FlightPtr& flight);
  void LeaveFlight(Edge& edge);
  MissReport MissOf(const Edge& edge) const;

  // flight_end.cc
  void OnRunDone(const FlightPtr& flight, Result<RunOutput> output);
  void Commit(const FlightPtr& flight, RunOutput output);
  SaveBatch BatchOf(const Flight& flight) const;
  void EndFlight(const FlightPtr& flight, bool failed);
  void FlightFailed(const FlightPtr& flight, const Error& error);
  // `records` are those of BatchOf, in order.
  void DeliverFlight(const FlightPtr& flight, const std::vector<RecordId>& records);
  void NoteCommit(const KeyDigest& digest);

  // repair.cc
  void Invalidate(Edge& edge, const std::string& why);
  void InputLost(Vertex& consumer, size_t input, const ResultHandle& handle, const Error& error);

  // interest.cc
  std::set<uint64_t> JobsWanting(const Edge& edge) const;
  bool Reaches(const Flight& from, const Edge& target) const;
  bool EdgeReaches(const Edge& from, const Edge& target) const;
  bool Walk(std::vector<const Edge*> todo, const Edge& target) const;
  void BreakCycles();
  // The jobs that own a scope's work: itself, or those of the run it belongs to.
  void AddJobsOf(uint64_t scope, std::set<uint64_t>& jobs) const;
  std::set<uint64_t> ScopesOver(const Vertex& vertex) const;
  // The oldest build that owns the vertex; null if none does any more.
  const ScopeState* BuildOf(const Vertex& vertex) const;
  void CollectTargets(const Vertex& vertex, std::vector<FanOut::Target>& targets,
                      std::set<std::string>& sessions) const;
  void RefreshFanOuts();
  void RefreshFanOut(FanOut& sink, const std::vector<const Vertex*>& vertices);
  std::vector<ImporterPtr> ImportersOf(const Vertex& vertex) const;
  ImporterPtr ShareImporter(const Importer& importer);
  void ShowCached(const Vertex& vertex, bool again);
  int DepthOf(const Vertex& vertex) const;
  std::set<uint64_t> EnclosingFlights(const Vertex& vertex) const;

  // scopes.cc, vertices.cc
  ScopeState* FindScope(uint64_t serial);
  const ScopeState* FindScope(uint64_t serial) const;
  Result<Edge*> OwnEdge(const ScopeState& scope, EdgeId id);
  void CancelScope(ScopeState& scope, const Error& reason);
  void AnswerRoot(Edge& edge, AskId ask, Result<ResultHandle> result);
  Vertex& AddVertex(const VertexSpec& spec, VertexId id, const std::vector<VertexId>& ids);
  std::set<uint64_t> JobsOfScope(const ScopeState& scope) const;
  Edge& EdgeFor(Vertex& vertex, int output);
  void DestroyUnowned();
  void DestroyVertex(Vertex& vertex);

  TaskQueue& loop_;
  const Clock& clock_;
  SolverOptions options_;
  const FaultPlan faults_;
  Probe* const probe_;
  LocalView local_;
  Resources resources_;
  std::atomic<uint64_t> next_serial_{1};

  std::deque<Edge*> dirty_;
  std::deque<std::pair<Edge*, Error>> failing_;
  std::deque<std::function<void()>> answers_;  // callbacks of users, run when the queue is empty
  bool pump_posted_ = false;

  std::map<VertexId, std::unique_ptr<Vertex>> vertices_;
  std::vector<VertexId> unowned_;
  std::map<uint64_t, std::unique_ptr<ScopeState>> scopes_;
  std::map<uint64_t, FlightPtr> all_flights_;
  std::unordered_map<KeyId, Flight*> flights_;
  std::map<LinkTuple, std::map<KeyId, int>> pending_;
  std::map<KeyDigest, std::set<Edge*>> last_matches_;  // edges whose last match is being looked up
  std::map<uint64_t, std::pair<TicketPtr, const Vertex*>> open_tickets_;
  std::map<CacheSource*, std::weak_ptr<ImporterState>> importers_;
  uint64_t next_importer_ = 1;
  uint64_t importers_version_ = 1;
  size_t nested_scopes_ = 0;
  bool owners_changed_ = false;
  bool waits_changed_ = false;
  std::vector<std::function<void()>> drain_waiters_;
  std::vector<StoredResultPtr> leaked_;  // a fault of tests
};

template <typename T, typename F>
Callback<T> Engine::Bind(TicketPtr ticket, F function) {
  std::weak_ptr<Engine> weak = weak_from_this();
  TaskQueue* loop = &loop_;
  return [weak, loop, ticket = std::move(ticket),
          function = std::move(function)](Result<T> result) mutable {
    loop->Post([weak, ticket, function, result = std::move(result)]() mutable {
      const auto engine = weak.lock();
      if (engine == nullptr) return;
      if (ticket->resources != 0) {
        engine->resources_.Release(std::exchange(ticket->resources, 0));
      }
      if (ticket->live) function(std::move(result));
      engine->Pump();
    });
  };
}

}  // namespace kiln::solver
