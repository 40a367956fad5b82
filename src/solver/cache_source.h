#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "progress/activity.h"
#include "solver/ids.h"
#include "solver/stored_result.h"

namespace kiln::solver {

// Completions: called exactly once, from any thread, also from inside the call that took them.
// The solver moves them to its loop itself. The callee drops the closure afterwards.
template <typename T>
using Callback = std::function<void(Result<T>)>;
using StatusCallback = std::function<void(Status)>;

// A link's left side: "the key you get by giving `parent` as input number `input` to the op with
// key digest `digest`, read with `selector`, at `output`". Selector is "" where the op gave none
// and for content keys.
struct LinkTuple {
  KeyId parent;
  int input = 0;
  KeyDigest digest;
  int output = 0;
  std::string selector;
  auto operator<=>(const LinkTuple&) const = default;
};

struct LinkChild {
  KeyId child;
  // When the link was last asserted, in this source's own count; larger is later. Sources that keep
  // no order give 0 for all.
  uint64_t seq = 0;
  bool operator==(const LinkChild&) const = default;
};

struct Link {
  LinkTuple tuple;
  KeyId child;
  bool operator==(const Link&) const = default;
};

// What made a record. `capture` is the op's own bytes (materials, usage), kept and returned unread.
struct Origin {
  std::string vertex_name;
  std::string build_ref;
  nanoseconds duration{0};
  bool operator==(const Origin&) const = default;
};

// One stored result of a key.
struct RecordInfo {
  RecordId id;
  KeyId key;
  WallTime created;
  Origin origin;
};

struct KeyInfo {
  // Does the source know the id at all, as a record's key or in a link?
  bool known = false;
  std::vector<RecordInfo> records;
};

// The answer to a claim. Neither `result` nor `gone`: never returned. An empty result (scratch) is
// a null pointer with gone == false.
struct Claimed {
  bool gone = false;
  StoredResultPtr result;
  std::string capture;
  // Transient: not gone for good, but not to be had now. The solver tries other records and bars
  // this one for the edge that asked, without dropping it.
  bool unavailable = false;
};

// A store of keys, links and records. Implementations: cachedb (local), remotecache (importers),
// MemoryCache (tests, random keys). Calls come from the solver's loop and must return at once.
// Batches answer in the order of their questions. An error of Lookup or Records means "this source
// knows nothing now"; the solver goes on without it.
class CacheSource {
 public:
  virtual ~CacheSource() = default;
  // For people: "local", "registry.example/cache:main".
  virtual const std::string& name() const = 0;

  // For each tuple the children that links lead to (tens at most; newest first if cut).
  virtual void Lookup(std::vector<LinkTuple> tuples, progress::Activity activity,
                      Callback<std::vector<std::vector<LinkChild>>> done) = 0;
  // For each id its records (any order) and whether it is known.
  virtual void Records(std::vector<KeyId> ids, progress::Activity activity,
                       Callback<std::vector<KeyInfo>> done) = 0;
  // Leases the record's result, atomically against collection: either the pointer is leased when it
  // arrives, or `gone`. May give a lazy result. A wrong or unreadable record is `gone`.
  virtual void Claim(RecordInfo record, progress::Activity activity, Callback<Claimed> done) = 0;
};
using CacheSourcePtr = std::shared_ptr<CacheSource>;

// What a run was and why it ran, kept with its records so that `kiln explain` can answer.
struct OpIdentity {
  std::string kind;  // "exec", "file", "source", …
  std::string name;
  std::string platform;
  std::string location;  // "Dockerfile:12" or ""
  bool operator==(const OpIdentity&) const = default;
};

// A labelled part of a key: a short text, or the digest of a longer text that is kept once.
struct KeyPart {
  std::string label;  // "command", "env PATH", "input 1", "content of context:/src"
  std::string
      value;  // text, at most a few KiB; sources store values over 256 bytes once, by digest
  bool operator==(const KeyPart&) const = default;
};

enum class MissReason { kNoMatch, kForced, kLost, kImporterLate };

// The local source looks for the nearest record (same OpIdentity, most equal parts, then newest)
// and the first part that differs when it saves this.
struct MissReport {
  MissReason reason = MissReason::kNoMatch;
  OpIdentity identity;
  std::vector<KeyPart> parts;
};

struct NewRecord {
  KeyId key;
  StoredResultPtr result;  // may be null: scratch
  WallTime created;
  Origin origin;
  std::string capture;
  // Set when the result was claimed from that importer: not a run of our own.
  std::string imported_from;
};

// One transaction. `keys` lists the ids that are new, so that a source may give them short names;
// links and records name keys by id. Links that exist are asserted (seq renewed), as by Assert.
// All links of one batch get the same new seq, larger than any before.
struct SaveBatch {
  std::vector<KeyId> keys;
  std::vector<Link> links;
  std::vector<NewRecord> records;
  std::optional<MissReport> miss;
};

// A link seen from its child; see Parents.
struct ParentLink {
  LinkTuple tuple;
  uint64_t seq = 0;
};

// The source that also remembers. "A record goes with its result; an id with its last record and
// useful link" (useful: leads to an id that has a record or a useful link).
class LocalCacheSource : public CacheSource {
 public:
  // All or nothing; on success `done` gets the records' ids in order. Writes of one source take
  // effect in call order, and lookups called after a save's completion see it.
  virtual void Save(SaveBatch batch, Callback<std::vector<RecordId>> done) = 0;
  // Renews the seq of links that exist and adds the others, in one transaction with one new seq.
  // Links whose child is unknown to the source are skipped.
  virtual void Assert(std::vector<Link> links, StatusCallback done) = 0;
  // Forgets a record whose result is known to be lost. Unknown ids are no error.
  virtual void Drop(RecordId record, StatusCallback done) = 0;
  // For export: for each id the links that lead to it. Roots and content keys have none.
  virtual void Parents(std::vector<KeyId> ids,
                       Callback<std::vector<std::vector<ParentLink>>> done) = 0;
};
using LocalCacheSourcePtr = std::shared_ptr<LocalCacheSource>;

// An importer as a build brings it. While it has not answered, edges that match nowhere else wait
// for it until `patience` after it was attached; later answers still count for what has not begun
// to run.
struct Importer {
  CacheSourcePtr source;
  nanoseconds patience{std::chrono::seconds(10)};
};

}  // namespace kiln::solver
