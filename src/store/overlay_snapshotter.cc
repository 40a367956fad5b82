#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "store/snapshotter.h"

namespace kiln::store {
namespace {

// Deltas as overlayfs upper directories; a snapshot with no layer below is its own directory,
// bound.
class OverlaySnapshotter final : public Snapshotter {
 public:
  explicit OverlaySnapshotter(const OverlayOptions& options) : options_(options) {}

  std::string_view name() const override { return "overlayfs"; }
  bool stacks() const override { return true; }
  size_t max_layers() const override { return options_.max_layers; }

  Status Prepare(const SnapshotPlace& place, std::span<const std::string> lowers) const override {
    if (mkdir(place.work.c_str(), 0700) != 0) return ErrnoError(errno, "create {}", place.work);
    return MakeDelta(place.fs, lowers);
  }

  sys::MountDescription MountActive(const SnapshotPlace& place, std::span<const std::string> lowers,
                                    bool is_volatile) const override {
    if (lowers.empty()) return {sys::BindMount{.source = place.fs}, {}};
    sys::OverlayMount overlay;
    overlay.lowers.assign(lowers.rbegin(), lowers.rend());
    overlay.upper = place.fs;
    overlay.work = place.work;
    overlay.userxattr = options_.userxattr;
    overlay.is_volatile = is_volatile;
    return {std::move(overlay), {}};
  }

  sys::MountDescription MountView(std::span<const std::string> lowers) const override {
    sys::MountFlags flags;
    flags.readonly = true;
    if (lowers.size() == 1) return {sys::BindMount{.source = lowers[0]}, flags};
    sys::OverlayMount overlay;
    overlay.lowers.assign(lowers.rbegin(), lowers.rend());
    overlay.userxattr = options_.userxattr;
    return {std::move(overlay), flags};
  }

 private:
  const OverlayOptions options_;
};

}  // namespace

// The root directory looks like the one below it: the union shows the topmost.
Status MakeDelta(const std::string& fs, std::span<const std::string> lowers) {
  if (mkdir(fs.c_str(), 0755) != 0) return ErrnoError(errno, "create {}", fs);
  struct stat st = {};
  st.st_mode = 0755;
  if (!lowers.empty() && stat(lowers.back().c_str(), &st) != 0)
    return ErrnoError(errno, "stat {}", lowers.back());
  if (!lowers.empty() && chown(fs.c_str(), st.st_uid, st.st_gid) != 0)
    return ErrnoError(errno, "chown {}", fs);
  if (chmod(fs.c_str(), st.st_mode & 07777) != 0) return ErrnoError(errno, "chmod {}", fs);
  return OkStatus();
}

std::unique_ptr<Snapshotter> MakeOverlaySnapshotter(const OverlayOptions& options) {
  return std::make_unique<OverlaySnapshotter>(options);
}

}  // namespace kiln::store
