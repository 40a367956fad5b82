#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/mutex.h"
#include "base/time.h"
#include "store/ref.h"

namespace kiln::store {

// What a row of `records` is. Stored: never renumber.
enum class RecordKind : int {
  kLayer = 0,   // a layer of its own on `parent` (or on nothing)
  kMerge = 1,   // the layers of its inputs, one above the other
  kReused = 2,  // only the own layer of input 1, as the difference to input 0
  kNamed = 3,   // a named mutable directory
};

struct RecordRow {
  int64_t num = 0;
  std::string id;
  RecordKind kind = RecordKind::kLayer;
  int64_t parent = 0;  // 0: none
  bool local = false;
  bool standalone = false;
  std::optional<Digest> diff_id;
  std::optional<Digest> chain_id;
  std::string type;
  std::string description;
  WallTime created;
};

class Records;
struct NamedState;

// A record somebody holds; one object per record. Holding it holds what it stands on.
struct RecordState {
  explicit RecordState(RecordRow the_row)
      : row(std::move(the_row)), local(row.local), diff_id(row.diff_id), chain_id(row.chain_id) {}
  ~RecordState();
  RecordState(const RecordState&) = delete;
  RecordState& operator=(const RecordState&) = delete;

  const RecordRow row;  // as read; `local`, diff_id and chain_id are below, since they are learnt
  std::shared_ptr<RecordState> parent;
  std::vector<std::shared_ptr<RecordState>> inputs;
  std::shared_ptr<NamedState> frozen;  // a named directory seen as a snapshot
  bool received = false;
  size_t layers = 1;  // how many its chain has; a layer may occur twice

  std::atomic<bool> local;
  // Somebody held it for itself, not only as part of something else: its last release is a use.
  std::atomic<bool> used = false;
  Records* records = nullptr;  // null for frozen directories, whose own release counts
  mutable Mutex mutex;
  std::optional<Digest> diff_id GUARDED_BY(mutex);
  std::optional<Digest> chain_id GUARDED_BY(mutex);
  std::optional<bool> dangling GUARDED_BY(mutex);  // Views::IsDangling's answer
  // Of a frozen directory: its content as a layer.
  std::shared_ptr<RecordState> solid GUARDED_BY(mutex);
};

using RecordPtr = std::shared_ptr<RecordState>;

// Merges of merges can double a chain with each step: more layers than this are refused.
inline constexpr size_t kMaxMergedLayers = 10'000;

// Sets `layers` of a record that has its parent and inputs; ResourceExhausted for a merge of too
// many.
Status CountLayers(RecordState& record);

// The records that own the layers of a chain, bottom first, as an image has them (a layer may occur
// twice).
std::vector<RecordPtr> ChainOf(const RecordPtr& top);
// The same for mounting and looking: of a layer that occurs twice only the upper one counts, since
// it shows everything the other could.
std::vector<RecordPtr> VisibleChainOf(const RecordPtr& top);

}  // namespace kiln::store
