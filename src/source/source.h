#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "oci/platform.h"
#include "progress/activity.h"
#include "store/ref.h"

namespace kiln::source {

// One way of naming what a source yields.
struct SourceKey {
  // K of llb-ops-cache §8; llb::SourceKeyDigest makes D of it.
  std::string key;
  // False: there is another part, more expensive to learn, to be asked for if this one hits
  // nowhere.
  bool last = true;
  // Labelled, for explaining misses: ("image", "docker.io/library/alpine:3.20"), ("digest",
  // "sha256:…").
  std::vector<std::pair<std::string, std::string>> parts;
};

// What was used, for provenance.
struct Material {
  enum class Kind { kImage, kOciLayout, kImageBlob, kOciLayoutBlob, kLocal, kHttp, kGit };
  Kind kind = Kind::kImage;
  std::string name;    // the reference or URL as written, or the local name
  std::string digest;  // "sha256:…" of the top object, a commit's hex; "" for local folders
  std::optional<oci::Platform> platform;
};

// One source of a graph. Shared by all builds that have the vertex; safe from any thread; methods
// with an Activity block.
class Source {
 public:
  virtual ~Source() = default;

  // Part 0, then 1, … while parts say that they are not the last. May ask registries or clients.
  virtual Result<SourceKey> Key(const progress::Activity& activity, int part) = 0;
  // Whether Key takes time that people should see.
  virtual bool shows_key() const = 0;
  // The content; may be lazy. Scratch for an image without layers.
  virtual Result<store::SnapshotRef> Fetch(const progress::Activity& activity) = 0;
  // Known once Key has succeeded.
  virtual std::optional<Material> material() const = 0;
};
using SourcePtr = std::shared_ptr<Source>;

}  // namespace kiln::source
