#pragma once

#include <memory>
#include <string>
#include <vector>

#include "progress/activity.h"
#include "solver/cache_source.h"
#include "solver/ids.h"
#include "solver/scope.h"
#include "solver/stored_result.h"

namespace kiln::solver {

// How an op's key uses one of its inputs.
struct InputKey {
  // Part of every link from that input's definition keys. "" if the whole result is meant.
  std::string selector;
  // Op::ContentDigest may be asked for this input.
  bool has_content_digest = false;
  // What people call the input's content, for misses: "content of context:/src". "" = "input N".
  std::string label;
};

// One way of naming what an op does.
struct KeyMapPart {
  KeyDigest digest;              // D
  std::vector<InputKey> inputs;  // one per input; empty for ops without inputs
  std::vector<KeyPart> parts;    // what D was made from, for misses
  // Only ops without inputs may say false: there is a further part, to be asked for if this one
  // hits nowhere (an image: manifest digest first, then chain id).
  bool last = true;
};

enum class SlotKind { kNone, kExec, kFile, kSource, kHash };
inline constexpr int kSlotKinds = 5;

// What a run must hold while it runs.
struct RunNeeds {
  SlotKind slot = SlotKind::kNone;
  // Exclusive, over all builds ("cache mount go-build", …). Taken in name order before the slot.
  std::vector<std::string> locks;
};

struct RunOutput {
  // One per declared output; null is an empty result (scratch).
  std::vector<StoredResultPtr> results;
  // Stored with the records, returned by claims: materials, usage. Opaque.
  std::string capture;
};

// What a run may use. Lives until the run's completion is called; the methods are safe from any
// thread.
class RunContext {
 public:
  virtual ~RunContext() = default;
  // Cancelled when nobody wants the run any more. Sessions are those of all builds that want it
  // now; events sent to its sink with an empty vertex digest reach all of them, under their own
  // digests.
  virtual const progress::Activity& activity() const = 0;
  // The very results that the run's key was computed from, one per input.
  virtual const std::vector<ResultHandle>& inputs() const = 0;
  // A scope for a graph that this run solves on behalf of the builds that want it (BuildOp,
  // frontends in a graph). Discarded when the run ends. Fails when nested too deep, and for runs
  // that hold a slot or locks: nothing may hold those while it waits for a graph.
  virtual Result<std::shared_ptr<Scope>> OpenScope() = 0;
};

// One step. Immutable after loading, shared between builds; its methods are called on the solver's
// loop and return at once, the work being done elsewhere (a WorkerPool). Each completion is called
// exactly once, from any thread, also after cancellation: a cancelled run must still complete, when
// it has really stopped. The op itself lives until all its completions were called or dropped.
// Errors of KeyMap, ContentDigest, Prepare and Run fail the vertex; LostError of ContentDigest and
// Prepare has the input repaired instead.
class Op {
 public:
  virtual ~Op() = default;
  virtual int output_count() const { return 1; }
  virtual OpIdentity identity() const = 0;

  // Part number `part` (0, then 1, … while parts say last == false) of the key map. May resolve
  // names over the network (sources), in which case ShowsKeyMap() makes it a visible step.
  virtual void KeyMap(int part, progress::Activity activity, Callback<KeyMapPart> done) = 0;
  virtual bool ShowsKeyMap() const { return false; }

  // What the key map's digest was made from, if KeyMap does not say so: asked for only when nothing
  // was found, on the loop.
  virtual std::vector<KeyPart> KeyParts() const { return {}; }

  // The content digest ("sha256:…") of what this op reads of that input. Called where the key map
  // says has_content_digest; holds a slot of kind kHash.
  virtual void ContentDigest(int input, ResultHandle result, progress::Activity activity,
                             Callback<std::string> done) = 0;
  // Makes an input's result local: pulls and unpacks what is lazy and will be read.
  virtual void Prepare(int input, ResultHandle result, progress::Activity activity,
                       StatusCallback done) = 0;
  virtual RunNeeds needs() const = 0;
  virtual void Run(std::shared_ptr<RunContext> context, Callback<RunOutput> done) = 0;

  // Another build loaded the same vertex with its own op: merge what is outside identity (limits).
  // Called on the loop, before or between runs.
  virtual void MergeTwin(const Op& /*twin*/) {}
};
using OpPtr = std::shared_ptr<Op>;

}  // namespace kiln::solver
