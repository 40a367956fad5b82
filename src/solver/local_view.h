#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "solver/cache_source.h"
#include "solver/key_node.h"

namespace kiln::solver {

// The local source as edges see it: what is on disk, plus what rests on random keys and exists in
// memory only (ids that begin with kMemoryPrefix, and links from them). The memory half lives as
// long as the vertices whose random keys it rests on, and holds no result alive. Both halves share
// ids. Loop thread only; completions may come from any thread, as the disk's do.
class LocalView {
 public:
  // Links in memory count as later than any on disk, so that a child's smallest seq is the disk's.
  static constexpr uint64_t kMemorySeq = uint64_t{1} << 62;

  explicit LocalView(LocalCacheSourcePtr disk) : disk_(std::move(disk)) {}

  LocalCacheSource& disk() { return *disk_; }
  const LocalCacheSourcePtr& disk_ptr() const { return disk_; }

  void Lookup(std::vector<LinkTuple> tuples, progress::Activity activity,
              Callback<std::vector<std::vector<LinkChild>>> done);
  void Records(std::vector<KeyId> ids, progress::Activity activity,
               Callback<std::vector<KeyInfo>> done);
  void Claim(RecordInfo record, progress::Activity activity, Callback<Claimed> done);
  void Drop(RecordId record);

  // Splits off what goes to memory.
  struct Parts {
    SaveBatch disk;
    SaveBatch memory;
  };
  static Parts Split(SaveBatch batch);
  std::vector<RecordId> SaveMemory(const SaveBatch& batch);
  // `done` (not null) is called when the disk has it.
  void Assert(std::vector<Link> links, StatusCallback done);

  // A live vertex has (no longer has) that random root key.
  void AddRoot(const KeyId& id) { ++roots_[id]; }
  void ReleaseRoot(const KeyId& id);

  size_t memory_links() const;
  // The last lookup on the disk failed.
  bool unreadable() const { return *unreadable_; }

 private:
  struct MemoryRecord {
    RecordInfo info;
    std::weak_ptr<StoredResult> result;
    std::string capture;
  };
  struct MemoryKey {
    std::map<int, std::set<LinkTuple>> parents;  // per input; for memory ids only
    std::vector<MemoryRecord> records;
  };

  bool Alive(const KeyId& id) const;
  void AddLink(const Link& link, uint64_t seq);
  void Forget(const KeyId& first);
  std::vector<LinkChild> Children(const LinkTuple& tuple) const;
  KeyInfo Info(const KeyId& id);

  LocalCacheSourcePtr disk_;
  const std::shared_ptr<std::atomic<bool>> unreadable_ = std::make_shared<std::atomic<bool>>(false);
  std::map<KeyId, int> roots_;
  std::map<KeyId, MemoryKey> keys_;
  std::map<LinkTuple, std::map<KeyId, uint64_t>> links_;
  std::map<KeyId, std::set<LinkTuple>> leads_;
  uint64_t seq_ = kMemorySeq;
  uint64_t next_record_ = 1;
};

}  // namespace kiln::solver
