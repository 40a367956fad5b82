#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/time.h"
#include "llb/source_id.h"
#include "oci/platform.h"
#include "progress/activity.h"
#include "source/source.h"

namespace kiln::http {
class Client;
}
namespace kiln::registry {
class Registry;
}
namespace kiln::session {
class Manager;
}
namespace kiln::store {
class Store;
}
namespace kiln::sys {
class Spawner;
}

namespace kiln::source {

class JobView;
class JobViews;

// All of it outlives the sources.
struct Services {
  store::Store& store;
  registry::Registry& registry;
  session::Manager& sessions;
  const Clock& clock;
  http::Client& http;
  sys::Spawner& spawner;  // starts git
  // What programs that are started see of our environment: PATH and proxies, NAME=value.
  std::vector<std::string> environment;
  // Of this daemon's state alone: in keys that must mean nothing elsewhere.
  std::string daemon_id = {};
  // A program that talks to a peer is given up when the peer is silent for so long.
  std::chrono::seconds git_stall{120};
  std::shared_ptr<JobViews> views = {};  // set by Sources
};

// What an image is now, for frontends (ResolveSourceMeta, ResolveImageConfig).
struct ImageMeta {
  Digest digest;       // of the top object: index or manifest
  std::string config;  // JSON of the image for the asked platform; empty if it was not asked for
};

// A digest of a file with something behind it, as frontends may ask for.
struct FileChecksumRequest {
  enum class Algorithm { kSha256, kSha384, kSha512 };
  Algorithm algorithm = Algorithm::kSha256;
  std::string suffix;
};

// What a URL holds now.
struct HttpMeta {
  Digest checksum;
  std::string filename;
  std::optional<WallTime> last_modified;
  std::string requested_checksum;  // "sha512:…"; "" if none was asked for
};

// What a ref of a git remote is now.
struct GitMeta {
  std::string checksum;         // hex: of the annotated tag if it is one, else of the commit
  std::string ref;              // "refs/tags/v1"
  std::string commit_checksum;  // behind an annotated tag; "" otherwise
  std::string commit_object;    // as git stores them; only if they were asked for
  std::string tag_object;
};

// The error that names the first attribute, if there is one.
Status CheckServed(const std::map<std::string, std::string>& unserved);

// Remembers what names were resolved to, so that one build sees one state of the world. One per
// job; safe from any thread.
class MetaCache {
 public:
  std::optional<ImageMeta> Find(const std::string& key) const;
  void Put(const std::string& key, const ImageMeta& meta);
  std::optional<HttpMeta> FindHttp(const std::string& key) const;
  void PutHttp(const std::string& key, const HttpMeta& meta);
  std::optional<GitMeta> FindGit(const std::string& key) const;
  void PutGit(const std::string& key, const GitMeta& meta);

 private:
  mutable Mutex mutex_;
  std::map<std::string, ImageMeta> known_ GUARDED_BY(mutex_);
  std::map<std::string, HttpMeta> known_http_ GUARDED_BY(mutex_);
  std::map<std::string, GitMeta> known_git_ GUARDED_BY(mutex_);
};

// Makes sources.
class Sources {
 public:
  explicit Sources(const Services& services);

  // While the view is held, everything that works for `sessions` sees one state of the world: what
  // a URL, an image's name or a git ref was found to be stays so for metadata, keys and content.
  std::shared_ptr<JobView> OpenView(std::shared_ptr<const progress::SessionGroup> sessions) const;

  // Does not block. Unimplemented, naming the attribute, for what is asked but not served.
  Result<SourcePtr> Make(const llb::SourceId& id, const oci::Platform& platform) const;

  // `id` is an image or oci-layout source; InvalidArgument for others. `cache` may be null. Blocks.
  Result<ImageMeta> ResolveImage(const progress::Activity& activity, const llb::SourceId& id,
                                 const oci::Platform& platform, bool with_config,
                                 MetaCache* cache) const;
  // What the URL holds now, or what its checksum says. Downloads it if it has changed, or if
  // `request` (may be null) needs its bytes. `cache` may be null. Blocks.
  Result<HttpMeta> ResolveHttp(const progress::Activity& activity, const llb::HttpSource& spec,
                               const FileChecksumRequest* request, MetaCache* cache) const;
  // Which commit the ref is. Downloads it only for its objects. `cache` may be null. Blocks.
  Result<GitMeta> ResolveGit(const progress::Activity& activity, const llb::GitSource& spec,
                             bool objects, MetaCache* cache) const;

 private:
  Services services_;
};

}  // namespace kiln::source
