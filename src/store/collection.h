#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "store/blob_store.h"
#include "store/linked.h"
#include "store/records.h"

namespace kiln::store {

struct UsageRow {
  UsageRecord record;
  int64_t num = 0;
  RecordKind kind = RecordKind::kLayer;
  bool local = false;
  std::optional<uint64_t> dir_bytes;
  bool has_linked = false;         // `linked` is not empty, though perhaps not read yet
  std::vector<LinkedFile> linked;  // files shared with other directories
  uint64_t blob_bytes = 0;
  std::vector<int64_t> stands_on;  // parents and inputs
  size_t children = 0;
  bool learnt = false;  // `dir_bytes` is to be written into its row
};

// The room of usage and collection. Safe from any thread.
class Collection {
 public:
  Collection(Root* root, Records* records, BlobStore* blobs, IndexCache* indexes)
      : root_(root), records_(records), blobs_(blobs), indexes_(indexes) {}

  // As in Store.
  Result<std::vector<UsageRecord>> DiskUsage(const std::vector<std::string>& filters,
                                             std::chrono::nanoseconds age_limit);
  Status Prune(const progress::Activity& activity, std::span<const PruneRule> rules,
               const PrunedFn& pruned) EXCLUDES(pruning_);
  // Set once, before use.
  void OnCollected(std::function<void(std::span<const std::string>)> callback) {
    on_collected_ = std::move(callback);
  }

 private:
  Result<std::vector<UsageRow>> ReadUsage();
  // Walks what has not been measured. What is being written counts as nothing yet.
  void Measure(std::vector<UsageRow>* rows);
  // Writes the sizes that were learnt.
  Status NoteSizes(const std::vector<UsageRow>& rows);
  Status PruneByRule(const progress::Activity& activity, const PruneRule& rule,
                     const PrunedFn& pruned) REQUIRES(pruning_);
  Result<uint64_t> RemoveBatch(const std::vector<UsageRow>& rows, const std::vector<size_t>& batch,
                               LinkedOwners* owners, const PrunedFn& pruned) REQUIRES(pruning_);

  Root* const root_;
  Records* const records_;
  BlobStore* const blobs_;
  IndexCache* const indexes_;
  std::function<void(std::span<const std::string>)> on_collected_;
  Mutex pruning_ ACQUIRED_BEFORE(lock_order::kOperations);
};

}  // namespace kiln::store
