#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "store/blob.h"
#include "store/lock_order.h"
#include "store/root.h"

namespace kiln::store {

// The blobs/ and ingest/ folders and their rows. Safe from any thread.
class BlobStore {
 public:
  explicit BlobStore(Root* root) : root_(root) {}

  Result<BlobWriter> Ingest();
  Result<BlobRef> Get(const Digest& digest);
  Result<BlobInfo> Stat(const Digest& digest);
  Result<std::vector<Digest>> List();
  bool Has(const Digest& digest);
  Status SetLabels(const Digest& digest, const std::map<std::string, std::string>& labels);
  // Adds to the comma-joined distribution-source label of a host.
  Status AddSource(const Digest& digest, std::string_view host, std::string_view repository);
  Status Pin(const Digest& digest, const std::string& owner, std::optional<WallTime> until);
  Status Unpin(const std::string& owner);
  // Removes blobs that no hold, layer or live pin needs; how many bytes that freed.
  Result<uint64_t> Sweep();
  std::string PathOf(const Digest& digest) const;
  // Of how many blobs something is in memory, used or not.
  size_t remembered() const EXCLUDES(mutex_);

 private:
  friend class BlobWriter;
  friend class BlobRef;
  Result<BlobRef> Publish(const std::string& temporary, const Digest& digest, uint64_t size);
  // A hold on a blob whose row was read in `epoch`; null if collection may have taken it since.
  std::shared_ptr<const BlobRef::Hold> Hold(const Digest& digest, uint64_t size, uint64_t epoch);
  std::shared_ptr<const BlobRef::Hold> LiveHold(const Digest& digest, uint64_t* epoch);
  Result<uint64_t> Remove(std::span<const Digest> digests) EXCLUDES(mutex_);

  Root* const root_;
  mutable Mutex mutex_ ACQUIRED_AFTER(lock_order::kRooms) ACQUIRED_BEFORE(lock_order::kRecords);
  std::unordered_map<Digest, std::weak_ptr<const BlobRef::Hold>> live_ GUARDED_BY(mutex_);
  size_t live_limit_ GUARDED_BY(mutex_) = 64;  // so many: the expired ones are taken out
  std::unordered_set<Digest> doomed_ GUARDED_BY(mutex_);
  uint64_t epoch_ GUARDED_BY(mutex_) = 0;  // counts dooms
};

}  // namespace kiln::store
