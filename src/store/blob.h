#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace kiln::store {

class BlobStore;

// What the store knows about a blob. Labels are free; the ones below are used by kiln.
struct BlobInfo {
  Digest digest;
  uint64_t size = 0;
  WallTime created;
  std::map<std::string, std::string> labels;
};

// Comma-joined repositories of a registry host that hold this blob: label
// "containerd.io/distribution.source.<host>".
inline constexpr std::string_view kDistributionSourceLabel = "containerd.io/distribution.source.";

// A counted hold on a local blob: it is not collected while one lives. A value; copies share the
// hold. Safe from any thread.
class BlobRef {
 public:
  BlobRef() = default;

  bool valid() const { return hold_ != nullptr; }
  const Digest& digest() const;
  uint64_t size() const;
  // A descriptor to read from, offset 0, of its own. Readers may use pread.
  Result<Fd> Open() const;
  // All of it; FailedPrecondition if it is larger than `limit`.
  Result<std::string> ReadAll(uint64_t limit = 16 << 20) const;

 private:
  friend class BlobStore;
  struct Hold;
  explicit BlobRef(std::shared_ptr<const Hold> hold) : hold_(std::move(hold)) {}
  std::shared_ptr<const Hold> hold_;
};

// Takes the bytes of one blob, hashing as they pass. Destroyed without Commit: nothing stays. One
// thread at a time.
class BlobWriter {
 public:
  BlobWriter(BlobWriter&&) noexcept;
  BlobWriter& operator=(BlobWriter&&) noexcept;
  ~BlobWriter();

  // ResourceExhausted when the disk is nearly full.
  Status Write(std::string_view data);
  uint64_t offset() const { return offset_; }
  // Told the offset after each write (for progress); on the writing thread.
  void set_observer(std::function<void(uint64_t offset)> observer) {
    observer_ = std::move(observer);
  }
  // Forgets what was written: for a source that starts over.
  Status Restart();
  // Publishes. `expected` and `size`, when given, must agree with what was written: else DataLoss,
  // and nothing is published. A blob that exists already is success.
  Result<BlobRef> Commit(std::optional<Digest> expected = std::nullopt,
                         std::optional<uint64_t> size = std::nullopt);

 private:
  friend class BlobStore;
  BlobWriter(BlobStore* store, std::string path, Fd fd);

  BlobStore* store_;
  std::string path_;
  Fd fd_;
  Sha256 hasher_;
  uint64_t offset_ = 0;
  uint64_t checked_ = 0;  // up to where there was room on the disk
  std::function<void(uint64_t)> observer_;
};

}  // namespace kiln::store
