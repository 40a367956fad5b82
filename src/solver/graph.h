#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "solver/cache_source.h"
#include "solver/fan_out.h"
#include "solver/key_node.h"
#include "solver/op.h"
#include "solver/resources.h"
#include "solver/scope.h"

// The engine's graph: plain state, changed by Engine alone, on the loop.
namespace kiln::solver {

struct Edge;
struct Vertex;
struct Flight;
struct ScopeState;

// One outstanding piece of outside work. Whoever no longer wants the answer drops the ticket: the
// answer is then ignored, and the work told.
struct Ticket {
  uint64_t serial = 0;
  OpPtr op;  // kept until it has answered
  bool live = true;
  CancelSource cancel;
  std::shared_ptr<FanOut> sink;     // its events and sessions, if it has some
  Resources::Ticket resources = 0;  // what it holds or stands in line for
  bool running = false;             // outside: resources are freed when it answers, not before
};
using TicketPtr = std::shared_ptr<Ticket>;

// An importer as all jobs that named the same source share it.
struct ImporterState {
  SourceId id = 0;
  CacheSourcePtr source;
  nanoseconds patience{0};
  int open = 0;       // questions not answered
  bool late = false;  // let a question wait longer than its patience; until it answers one
  uint64_t timer = 0;
  std::map<uint64_t, Edge*> waiting;  // edges with open questions, by serial
};
using ImporterPtr = std::shared_ptr<ImporterState>;

using ChildMap = std::map<KeyId, uint64_t>;  // child → seq
// Drops what `children` lacks; of what stays, the smaller seq.
void KeepCommon(ChildMap& common, const ChildMap& children);

struct ChildInfo {
  bool asked = false;
  bool answered = false;
  bool known = false;
  std::vector<RecordInfo> records;
};

// What an edge knows from one source.
struct SourceMatch {
  SourceId id = kLocalSource;
  ImporterPtr importer;  // null for the local source
  // [output][input][parent id] → children. An empty entry also means: asked.
  std::map<int, std::vector<std::map<KeyId, std::vector<LinkChild>>>> answers;
  std::map<KeyId, ChildInfo> info;  // of common children, or of a root's keys
  int open = 0;                     // batches not answered
};

struct EdgeInput {
  Edge* edge = nullptr;
  Level asked = Level::kNone;
  uint64_t epoch_seen = 0;  // the input edge's resets already taken note of
  bool digest_wanted = false;
};

enum class Phase {
  kIdle,
  kKeys,
  kMatch,
  kRaise,
  kClaim,
  kNeed,
  kPrepare,
  kFlight,
  kFollow,
  kCommit,
  kDone,
};
const char* PhaseName(Phase phase);

// Inputs made ready for a run: the handles that the keys are computed from.
struct Preparation {
  std::vector<ResultHandle> handles;
  std::vector<TicketPtr> tickets;  // per input; null where nothing is open
  size_t open = 0;
  bool matched = false;  // the last match was asked for
  bool stale = false;    // something was committed since: ask again
};

struct Ask {
  Edge* asker = nullptr;
  Level level = Level::kNone;
  uint64_t seen = 0;  // version of the keys that the asker matched in vain
};

struct RootAsk {
  ScopeState* scope = nullptr;
  Callback<ResultHandle> done;
};

struct Edge {
  uint64_t serial = 0;
  Vertex* vertex = nullptr;
  int output = 0;

  std::map<std::pair<uint64_t, size_t>, Ask> asks;  // by (asker's serial, its input)
  std::map<AskId, RootAsk> roots;
  bool queued = false;

  Phase phase = Phase::kIdle;
  Level level = Level::kNone;
  std::vector<KeyNodePtr> keys;
  uint64_t keys_version = 0;
  uint64_t epoch = 1;  // changes when level and keys are taken back

  std::vector<EdgeInput> inputs;
  std::vector<SourceMatch> sources;  // local first
  uint64_t sources_version = 0;
  TicketPtr lookups;  // all open lookups
  TicketPtr claim;
  std::optional<Preparation> preparation;
  bool importing = false;  // a claimed record is being saved
  std::shared_ptr<Flight> flight;
  bool save_only = false;  // its key in the flight rests on ignore-cache ones
  bool solitary = false;   // must not follow: it would wait for itself

  std::set<std::pair<SourceId, RecordId>> barred;
  StoredResultPtr result;
  uint64_t generation = 0;
  std::vector<std::pair<SourceId, RecordId>> result_records;
  int repairs = 0;
  bool lost = false;           // the run that follows is a repair
  bool importer_late = false;  // went on without an importer

  std::optional<Error> last_error;
  std::set<uint64_t> failed_for;  // jobs that saw it

  EdgeId id() const;
  Level goal() const;
};

struct InputDigest {
  uint64_t generation = 0;  // of the input's result; 0: none
  KeyNodePtr key;
  TicketPtr ticket;  // being computed
  uint64_t ticket_generation = 0;
};

struct Vertex {
  struct Input {
    Vertex* vertex = nullptr;
    int output = 0;
  };
  // How one owner knows it.
  struct Owner {
    Digest digest;
    std::vector<Digest> inputs;
    std::string name;
    std::optional<progress::Group> group;
    std::optional<bool> export_cache;
  };

  VertexId id;
  Digest digest;  // the first owner's
  std::string name;
  bool ignore_cache = false;
  OpPtr op;
  std::vector<Input> inputs;
  std::map<int, std::unique_ptr<Edge>> edges;
  std::map<uint64_t, Owner> owners;  // by scope serial

  std::vector<KeyMapPart> parts;
  TicketPtr key_map;  // the next part is being asked for
  std::vector<InputDigest> digests;

  bool all_parts() const { return !parts.empty() && parts.back().last; }
  bool is_root() const { return inputs.empty(); }
};

struct PendingLink {
  LinkTuple tuple;
  KeyId child;
};

enum class FlightState { kQueued, kRunning, kCommitting, kEnded };

struct Flight {
  uint64_t serial = 0;
  FlightState state = FlightState::kQueued;
  OpPtr op;
  std::string name;
  KeyDigest digest;                     // of the first key map part
  std::vector<std::vector<KeyId>> ids;  // per output; the first is the one links lead to
  std::vector<KeyId> minted;
  bool registered = false;  // in Engine::flights_
  bool saved = true;        // has a key to be saved under
  bool save_only = false;
  bool forced = false;
  std::vector<PendingLink> pending;
  std::vector<LinkTuple> link_tuples;  // of all members; output is replaced per output
  Edge* leader = nullptr;              // null once it left
  std::vector<Edge*> members;
  std::vector<ResultHandle> inputs;
  std::shared_ptr<FanOut> sink;
  CancelSource cancel;
  bool cancelled = false;
  Resources::Ticket resources = 0;
  int depth = 0;                 // of nesting
  std::set<uint64_t> scopes;     // opened by the run, by serial
  std::set<uint64_t> enclosing;  // flights whose scopes the leader's vertex belongs to
  std::shared_ptr<RunContext> context;
  MissReport miss;
  WallTime started;
  std::string origin_ref;
  std::string capture;
  std::vector<StoredResultPtr> results;
};
using FlightPtr = std::shared_ptr<Flight>;

// A job, or a run's nested scope.
struct ScopeState {
  uint64_t serial = 0;
  bool is_job = true;
  FlightPtr flight;  // of a nested scope
  int depth = 0;
  std::string ref;
  std::set<std::string> sessions;
  std::shared_ptr<JobEvents> events;  // of a job
  std::vector<ImporterPtr> importers;
  std::set<VertexId> vertices;
  std::map<AskId, Edge*> asks;
  std::optional<Error> cancelled;
};

}  // namespace kiln::solver
