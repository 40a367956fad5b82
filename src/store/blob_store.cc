#include "store/blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"

namespace kiln::store {

struct BlobRef::Hold {
  Digest digest;
  uint64_t size = 0;
  std::string path;
};

const Digest& BlobRef::digest() const { return hold_->digest; }
uint64_t BlobRef::size() const { return hold_->size; }

Result<Fd> BlobRef::Open() const { return OpenFile(hold_->path, O_RDONLY); }

Result<std::string> BlobRef::ReadAll(uint64_t limit) const {
  if (hold_->size > limit) {
    return FailedPrecondition("blob {}: {} bytes are more than the limit of {}", hold_->digest,
                              hold_->size, limit);
  }
  TRY_ASSIGN(const Fd fd, Open());
  TRY_ASSIGN(std::string data, kiln::ReadAll(fd.get(), limit));
  if (data.size() != hold_->size)
    return DataLoss("blob {}: {} bytes on disk, {} recorded", hold_->digest, data.size(),
                    hold_->size);
  return data;
}

BlobWriter::BlobWriter(BlobStore* store, std::string path, Fd fd)
    : store_(store), path_(std::move(path)), fd_(std::move(fd)) {}

BlobWriter::BlobWriter(BlobWriter&& other) noexcept
    : store_(other.store_),
      path_(std::exchange(other.path_, {})),
      fd_(std::move(other.fd_)),
      hasher_(std::move(other.hasher_)),
      offset_(other.offset_),
      checked_(other.checked_),
      observer_(std::move(other.observer_)) {}

BlobWriter& BlobWriter::operator=(BlobWriter&& other) noexcept {
  if (this == &other) return *this;
  if (!path_.empty()) (void)unlink(path_.c_str());
  store_ = other.store_;
  path_ = std::exchange(other.path_, {});
  fd_ = std::move(other.fd_);
  hasher_ = std::move(other.hasher_);
  offset_ = other.offset_;
  checked_ = other.checked_;
  observer_ = std::move(other.observer_);
  return *this;
}

BlobWriter::~BlobWriter() {
  if (!path_.empty()) (void)unlink(path_.c_str());
}

Status BlobWriter::Write(std::string_view data) {
  if (offset_ + data.size() >= checked_ + Root::kSpaceStep) {
    TRY(store_->root_->CheckSpace());
    checked_ = offset_ + data.size();
  }
  TRY_CTX(WriteAll(fd_.get(), data), "writing a blob");
  hasher_.Update(data);
  offset_ += data.size();
  if (observer_) observer_(offset_);
  return OkStatus();
}

Status BlobWriter::Restart() {
  if (ftruncate(fd_.get(), 0) != 0 || lseek(fd_.get(), 0, SEEK_SET) != 0)
    return ErrnoError(errno, "restarting a blob");
  hasher_.Reset();
  offset_ = 0;
  checked_ = 0;
  return OkStatus();
}

Result<BlobRef> BlobWriter::Commit(std::optional<Digest> expected, std::optional<uint64_t> size) {
  if (size && *size != offset_) {
    return DataLoss("blob {}: got {} bytes, expected {}", expected ? expected->ToString() : "",
                    offset_, *size);
  }
  const Digest digest = hasher_.Finish();
  if (expected && *expected != digest)
    return DataLoss("unexpected content: digest is {}, expected {}", digest, *expected);
  fd_.Reset();
  TRY_ASSIGN(BlobRef ref, store_->Publish(path_, digest, offset_));
  path_.clear();
  return ref;
}

std::string BlobStore::PathOf(const Digest& digest) const {
  return root_->BlobDir() + "/" + digest.hex();
}

size_t BlobStore::remembered() const {
  MutexLock lock(mutex_);
  return live_.size();
}

Result<BlobWriter> BlobStore::Ingest() {
  std::string path = root_->NewIngest("blob");
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  return BlobWriter(this, std::move(path), std::move(fd));
}

std::shared_ptr<const BlobRef::Hold> BlobStore::LiveHold(const Digest& digest, uint64_t* epoch) {
  MutexLock lock(mutex_);
  *epoch = epoch_;
  const auto found = live_.find(digest);
  return found == live_.end() ? nullptr : found->second.lock();
}

std::shared_ptr<const BlobRef::Hold> BlobStore::Hold(const Digest& digest, uint64_t size,
                                                     uint64_t epoch) {
  MutexLock lock(mutex_);
  if (epoch != epoch_ || doomed_.contains(digest)) return nullptr;
  if (live_.size() >= live_limit_) {
    std::erase_if(live_, [](const auto& item) { return item.second.expired(); });
    live_limit_ = std::max<size_t>(64, 2 * live_.size());
  }
  auto& slot = live_[digest];
  if (auto live = slot.lock()) return live;
  // Not make_shared: the weak pointers left in `live_` must not keep the memory.
  std::shared_ptr<const BlobRef::Hold> hold(new BlobRef::Hold{digest, size, PathOf(digest)});
  slot = hold;
  return hold;
}

Result<BlobRef> BlobStore::Get(const Digest& digest) {
  while (true) {
    uint64_t epoch = 0;
    if (auto live = LiveHold(digest, &epoch)) {
      if (access(live->path.c_str(), R_OK) != 0)
        return NotFound("blob {}: its file is missing", digest);
      return BlobRef(std::move(live));
    }
    std::optional<uint64_t> size;
    TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
      TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT size FROM blobs WHERE digest=?"));
      TRY_ASSIGN(const bool row, query.Bind(digest).Step());
      if (row) size = static_cast<uint64_t>(query.Int(0));
      return OkStatus();
    }));
    if (!size) return NotFound("blob {}: not found", digest);
    if (auto hold = Hold(digest, *size, epoch)) {
      if (access(PathOf(digest).c_str(), R_OK) != 0)
        return NotFound("blob {}: its file is missing", digest);
      return BlobRef(std::move(hold));
    }
    MutexLock lock(mutex_);
    if (doomed_.contains(digest)) return NotFound("blob {}: not found", digest);
  }
}

bool BlobStore::Has(const Digest& digest) { return Get(digest).ok(); }

Result<BlobRef> BlobStore::Publish(const std::string& temporary, const Digest& digest,
                                   uint64_t size) {
  while (true) {
    if (auto existing = Get(digest); existing.ok()) {
      (void)unlink(temporary.c_str());
      return existing;
    }
    uint64_t epoch = 0;
    (void)LiveHold(digest, &epoch);
    // The hold first: from here on collection leaves this digest alone.
    auto hold = Hold(digest, size, epoch);
    if (hold == nullptr) {
      std::this_thread::yield();  // it is being removed at this moment
      continue;
    }
    if (rename(temporary.c_str(), hold->path.c_str()) != 0)
      return ErrnoError(errno, "publishing blob {}", digest);
    Status written = root_->database().Write([&](SqliteConnection& db) -> Status {
      TRY_ASSIGN(
          SqliteStatement insert,
          db.Prepare("INSERT OR REPLACE INTO blobs(digest,size,created,seq) VALUES(?,?,?,?)"));
      return insert.Bind(digest)
          .Bind(static_cast<int64_t>(size))
          .Bind(UnixNanos(root_->clock().Now()))
          .Bind(root_->NextSeq())
          .Run();
    });
    if (!written.ok()) {
      (void)unlink(hold->path.c_str());
      return std::move(written).error();
    }
    return BlobRef(std::move(hold));
  }
}

Result<BlobInfo> BlobStore::Stat(const Digest& digest) {
  BlobInfo info;
  bool found = false;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT size,created FROM blobs WHERE digest=?"));
    TRY_ASSIGN(found, query.Bind(digest).Step());
    if (!found) return OkStatus();
    info.digest = digest;
    info.size = static_cast<uint64_t>(query.Int(0));
    info.created = FromUnixNanos(query.Int(1));
    TRY_ASSIGN(SqliteStatement labels,
               db.Prepare("SELECT name,value FROM blob_labels WHERE digest=?"));
    labels.Bind(digest);
    while (true) {
      TRY_ASSIGN(const bool row, labels.Step());
      if (!row) return OkStatus();
      info.labels.emplace(labels.Text(0), labels.Text(1));
    }
  }));
  if (!found) return NotFound("blob {}: not found", digest);
  return info;
}

Result<std::vector<Digest>> BlobStore::List() {
  std::vector<Digest> digests;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query, db.Prepare("SELECT digest FROM blobs ORDER BY digest"));
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      digests.push_back(query.DigestAt(0));
    }
  }));
  return digests;
}

// Labels may be set for blobs that are not here: a lazy layer's distribution sources.
Status BlobStore::SetLabels(const Digest& digest,
                            const std::map<std::string, std::string>& labels) {
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    for (const auto& [name, value] : labels) {
      if (value.empty()) {
        TRY_ASSIGN(SqliteStatement erase,
                   db.Prepare("DELETE FROM blob_labels WHERE digest=? AND name=?"));
        TRY(erase.Bind(digest).Bind(name).Run());
        continue;
      }
      TRY_ASSIGN(SqliteStatement set,
                 db.Prepare("INSERT OR REPLACE INTO blob_labels(digest,name,value) VALUES(?,?,?)"));
      TRY(set.Bind(digest).Bind(name).Bind(value).Run());
    }
    return OkStatus();
  });
}

Status BlobStore::AddSource(const Digest& digest, std::string_view host,
                            std::string_view repository) {
  const std::string name = std::string(kDistributionSourceLabel) + std::string(host);
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    std::string value;
    {
      TRY_ASSIGN(SqliteStatement query,
                 db.Prepare("SELECT value FROM blob_labels WHERE digest=? AND name=?"));
      TRY_ASSIGN(const bool row, query.Bind(digest).Bind(name).Step());
      if (row) value = query.Text(0);
    }
    if (!value.empty()) {
      for (std::string_view known : Split(value, ',')) {
        if (known == repository) return OkStatus();
      }
      value.push_back(',');
    }
    value.append(repository);
    TRY_ASSIGN(SqliteStatement set,
               db.Prepare("INSERT OR REPLACE INTO blob_labels(digest,name,value) VALUES(?,?,?)"));
    return set.Bind(digest).Bind(name).Bind(value).Run();
  });
}

Status BlobStore::Pin(const Digest& digest, const std::string& owner,
                      std::optional<WallTime> until) {
  TRY_ASSIGN(const BlobRef held, Get(digest));
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement pin,
               db.Prepare("INSERT OR REPLACE INTO pins(owner,digest,until) VALUES(?,?,?)"));
    pin.Bind(owner).Bind(digest);
    return (until ? pin.Bind(UnixNanos(*until)) : pin.BindNull()).Run();
  });
}

Status BlobStore::Unpin(const std::string& owner) {
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement unpin, db.Prepare("DELETE FROM pins WHERE owner=?"));
    return unpin.Bind(owner).Run();
  });
}

namespace {

constexpr std::string_view kNeeded =
    "EXISTS(SELECT 1 FROM layer_blobs l WHERE l.digest=b.digest) OR "
    "EXISTS(SELECT 1 FROM pins p WHERE p.digest=b.digest AND (p.until IS NULL OR p.until>?1))";

// The size of the blob whose row is gone now; nullopt if something needs it.
Result<std::optional<uint64_t>> DeleteUnneeded(SqliteConnection& db, const Digest& digest,
                                               int64_t now) {
  uint64_t bytes = 0;
  {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare(fmt::format("SELECT b.size FROM blobs b WHERE b.digest=?2 AND NOT ({})",
                                      kNeeded)));
    TRY_ASSIGN(const bool row, query.Bind(now).Bind(digest).Step());
    if (!row) return std::optional<uint64_t>();
    bytes = static_cast<uint64_t>(query.Int(0));
  }
  for (std::string_view sql :
       {"DELETE FROM blobs WHERE digest=?", "DELETE FROM blob_labels WHERE digest=?",
        "DELETE FROM locators WHERE digest=?"}) {
    TRY_ASSIGN(SqliteStatement erase, db.Prepare(sql));
    TRY(erase.Bind(digest).Run());
  }
  return std::optional(bytes);
}

}  // namespace

Result<uint64_t> BlobStore::Sweep() {
  const int64_t now = UnixNanos(root_->clock().Now());
  TRY(root_->database().Write([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement expire,
               db.Prepare("DELETE FROM pins WHERE until IS NOT NULL AND until<=?"));
    return expire.Bind(now).Run();
  }));
  std::vector<Digest> candidates;
  TRY(root_->database().Read([&](SqliteConnection& db) -> Status {
    TRY_ASSIGN(SqliteStatement query,
               db.Prepare(fmt::format("SELECT b.digest FROM blobs b WHERE NOT ({})", kNeeded)));
    query.Bind(now);
    while (true) {
      TRY_ASSIGN(const bool row, query.Step());
      if (!row) return OkStatus();
      candidates.push_back(query.DigestAt(0));
    }
  }));
  constexpr size_t kBatch = 100;
  uint64_t freed = 0;
  for (std::span<const Digest> rest = candidates; !rest.empty();) {
    const size_t count = std::min(kBatch, rest.size());
    TRY_ASSIGN(const uint64_t bytes, Remove(rest.first(count)));
    freed += bytes;
    rest = rest.subspan(count);
  }
  return freed;
}

// Rows, then files. A row that needs a blob can only have been written by someone who held it, so
// it is looked for after dooming.
Result<uint64_t> BlobStore::Remove(std::span<const Digest> digests) {
  std::vector<Digest> doomed;
  {
    MutexLock lock(mutex_);
    for (const Digest& digest : digests) {
      const auto live = live_.find(digest);
      if (live != live_.end() && !live->second.expired()) continue;
      doomed.push_back(digest);
      doomed_.insert(digest);
    }
    ++epoch_;
  }
  uint64_t bytes = 0;
  std::vector<Digest> gone;
  const int64_t now = UnixNanos(root_->clock().Now());
  const Status removed = root_->database().Write([&](SqliteConnection& db) -> Status {
    for (const Digest& digest : doomed) {
      TRY_ASSIGN(const std::optional<uint64_t> size, DeleteUnneeded(db, digest, now));
      if (!size) continue;
      gone.push_back(digest);
      bytes += *size;
    }
    return OkStatus();
  });
  if (removed.ok()) {
    for (const Digest& digest : gone) (void)unlink(PathOf(digest).c_str());
  }
  MutexLock lock(mutex_);
  for (const Digest& digest : doomed) doomed_.erase(digest);
  TRY(removed);
  return bytes;
}

}  // namespace kiln::store
