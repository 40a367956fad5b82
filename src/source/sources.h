#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"
#include "llb/source_id.h"
#include "oci/platform.h"
#include "progress/activity.h"
#include "source/source.h"

namespace kiln::registry {
class Registry;
}
namespace kiln::session {
class Manager;
}
namespace kiln::store {
class Store;
}

namespace kiln::source {

// All of it outlives the sources.
struct Services {
  store::Store& store;
  registry::Registry& registry;
  session::Manager& sessions;
  const Clock& clock;
};

// What an image is now, for frontends (ResolveSourceMeta, ResolveImageConfig).
struct ImageMeta {
  Digest digest;       // of the top object: index or manifest
  std::string config;  // JSON of the image for the asked platform; empty if it was not asked for
};

// Remembers what names were resolved to, so that one build sees one state of the world. One per
// job; safe from any thread.
class MetaCache {
 public:
  std::optional<ImageMeta> Find(const std::string& key) const;
  void Put(const std::string& key, const ImageMeta& meta);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, ImageMeta> known_;
};

// Makes sources.
class Sources {
 public:
  explicit Sources(const Services& services) : services_(services) {}

  // Does not block. Unimplemented, naming the scheme, for git and http sources.
  Result<SourcePtr> Make(const llb::SourceId& id, const oci::Platform& platform) const;

  // `id` is an image or oci-layout source; InvalidArgument for others. `cache` may be null. Blocks.
  Result<ImageMeta> ResolveImage(const progress::Activity& activity, const llb::SourceId& id,
                                 const oci::Platform& platform, bool with_config,
                                 MetaCache* cache) const;

 private:
  const Services services_;
};

}  // namespace kiln::source
