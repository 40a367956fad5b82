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
  std::string fs;    // its delta, with whiteouts
  std::string work;  // overlay's work directory, while active
  std::string tree;  // where nothing is stacked: all that is seen, while active and once mounted
};

// How snapshots lie on disk and are mounted. Stateless: the store knows which directories make a
// chain.
class Snapshotter {
 public:
  virtual ~Snapshotter() = default;
  virtual std::string_view name() const = 0;
  // Whether a mount stacks deltas; if not, the store makes whole trees for it, and never by links.
  virtual bool stacks() const = 0;
  // More layers than this must be flattened below before they are mounted; 1: all of them.
  virtual size_t max_layers() const = 0;
  // Makes an empty delta. `lowers`: directories of the parent chain, bottom first; the last is what
  // the root looks like.
  virtual Status Prepare(const SnapshotPlace& place, std::span<const std::string> lowers) const = 0;
  virtual sys::MountDescription MountActive(const SnapshotPlace& place,
                                            std::span<const std::string> lowers,
                                            bool is_volatile) const = 0;
  // Read-only; at least one directory.
  virtual sys::MountDescription MountView(std::span<const std::string> lowers) const = 0;
};

struct OverlayOptions {
  bool userxattr = false;  // of sys::Privileges
  size_t max_layers = 500;
};
std::unique_ptr<Snapshotter> MakeOverlaySnapshotter(const OverlayOptions& options);
std::unique_ptr<Snapshotter> MakeNativeSnapshotter();

// An empty delta on these directories.
Status MakeDelta(const std::string& fs, std::span<const std::string> lowers);

}  // namespace kiln::store
