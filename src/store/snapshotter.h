#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/mounts.h"

namespace kiln::store {

// The directories of one snapshot on disk.
struct SnapshotPlace {
  std::string fs;    // its delta (overlay) or whole tree (native)
  std::string work;  // overlay's work directory, while active
};

// How snapshots lie on disk and are mounted. Stateless: the store knows which directories make a
// chain.
class Snapshotter {
 public:
  virtual ~Snapshotter() = default;
  virtual std::string_view name() const = 0;
  // True: a committed directory holds only what changed over its parent, with whiteouts. False: the
  // whole tree.
  virtual bool stores_deltas() const = 0;
  // More layers than this must be flattened below before they are mounted.
  virtual size_t max_layers() const = 0;
  // `place` exists and is empty. `lowers`: directories of the parent chain, bottom first (for whole
  // trees the last one is all).
  virtual Status Prepare(const SnapshotPlace& place, std::span<const std::string> lowers) const = 0;
  virtual sys::MountDescription MountActive(const SnapshotPlace& place,
                                            std::span<const std::string> lowers,
                                            bool is_volatile) const = 0;
  // Read-only; at least one directory.
  virtual sys::MountDescription MountView(std::span<const std::string> lowers) const = 0;
};

struct OverlayOptions {
  bool userxattr = false;  // rootless
  size_t max_layers = 500;
};
std::unique_ptr<Snapshotter> MakeOverlaySnapshotter(const OverlayOptions& options);

}  // namespace kiln::store
