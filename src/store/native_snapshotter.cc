#include <sys/stat.h>
#include <unistd.h>

#include "store/snapshotter.h"

namespace kiln::store {
namespace {

// Nothing is stacked and nothing linked: a mount is a copy of all that is seen, bound. Committed
// layers are the same deltas as everywhere.
class NativeSnapshotter final : public Snapshotter {
 public:
  std::string_view name() const override { return "native"; }
  bool stacks() const override { return false; }
  size_t max_layers() const override { return 1; }

  Status Prepare(const SnapshotPlace& place, std::span<const std::string> lowers) const override {
    return MakeDelta(place.fs, lowers);
  }

  sys::MountDescription MountActive(const SnapshotPlace& place,
                                    std::span<const std::string> /*lowers*/,
                                    bool /*is_volatile*/) const override {
    return {sys::BindMount{.source = place.tree}, {}};
  }

  sys::MountDescription MountView(std::span<const std::string> lowers) const override {
    sys::MountFlags flags;
    flags.readonly = true;
    return {sys::BindMount{.source = lowers.back()}, flags};
  }
};

}  // namespace

std::unique_ptr<Snapshotter> MakeNativeSnapshotter() {
  return std::make_unique<NativeSnapshotter>();
}

}  // namespace kiln::store
