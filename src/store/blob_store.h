#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "store/blob.h"
#include "store/sqlite.h"

namespace kiln::store {

// The blobs/ and ingest/ folders and their rows. Safe from any thread.
class BlobStore {
 public:
  struct Paths {
    std::string blobs;   // …/blobs/sha256
    std::string ingest;  // …/ingest
  };
  // `next_seq` numbers rows for the synced watermark.
  BlobStore(Paths paths, Database* database, const Clock* clock, std::function<int64_t()> next_seq);

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

 private:
  friend class BlobWriter;
  friend class BlobRef;
  Result<BlobRef> Publish(const std::string& temporary, const Digest& digest, uint64_t size);
  // A hold on a blob whose row was read in `epoch`; null if collection may have taken it since.
  std::shared_ptr<const BlobRef::Hold> Hold(const Digest& digest, uint64_t size, uint64_t epoch);
  std::shared_ptr<const BlobRef::Hold> LiveHold(const Digest& digest, uint64_t* epoch);
  Result<uint64_t> Remove(const Digest& digest);

  const Paths paths_;
  Database* const database_;
  const Clock* const clock_;
  const std::function<int64_t()> next_seq_;
  Mutex mutex_;
  std::unordered_map<Digest, std::weak_ptr<const BlobRef::Hold>> live_ GUARDED_BY(mutex_);
  std::unordered_set<Digest> doomed_ GUARDED_BY(mutex_);
  uint64_t epoch_ GUARDED_BY(mutex_) = 0;  // counts dooms
};

}  // namespace kiln::store
