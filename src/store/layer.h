#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "archive/compression.h"
#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "oci/descriptor.h"
#include "progress/activity.h"

namespace kiln::store {

class BlobWriter;

// Where a blob that is not here may be read: never a credential. `kind` chooses the BlobSource;
// `value` is that source's own text. Kinds in use: "registry" (value "<host>/<repository>"),
// "oci-layout" (value "<store id>"), "remotecache".
struct Locator {
  std::string kind;
  std::string value;
  bool operator==(const Locator&) const = default;
};

// One layer as an image manifest or a cache manifest names it, not necessarily here.
struct LazyLayer {
  oci::Descriptor blob;
  Digest diff_id;  // required; verified when the layer is unpacked
  std::vector<Locator> locators;
  std::optional<WallTime> created;
  std::string description;  // "pulled from docker.io/library/alpine:3.20"
};

// Fetches what a Locator of its kind names. Called on worker threads, by several at once.
class BlobSource {
 public:
  virtual ~BlobSource() = default;
  // Each build names places of its own: only the last few of a blob are worth keeping.
  virtual bool BoundToSessions() const { return false; }
  // Writes the whole blob to `writer` (in order, from offset 0) and does not commit it. NotFound:
  // that place does not have it (any more), and if none has, the layer is lost; Unauthenticated:
  // none of the activity's sessions may read there. Transient faults are retried inside.
  virtual Status Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
                       const Locator& locator, BlobWriter& writer) = 0;
};

// A layer as a blob, for manifests.
struct LayerBlob {
  oci::Descriptor
      descriptor;  // media type, digest, size, annotations as recorded (family not yet converted)
  Digest diff_id;
  bool local = false;             // the bytes are in the blob store
  std::vector<Locator> locators;  // where else they are known to be
  std::optional<WallTime> created;
  std::string description;
};

struct LayerBlobOptions {
  archive::CompressionOptions
      compression;     // of blobs made now; existing ones keep theirs unless `force`
  bool force = false;  // convert existing blobs of another compression (fetches lazy ones)
  // Layers are written anew with no time later than `epoch_seconds`, but for the first ones, as far
  // as `kept` lists their diff ids (those of the base image).
  struct Clamp {
    int64_t epoch_seconds = 0;
    std::vector<Digest> kept;
  };
  std::optional<Clamp> clamp;
};
// Annotation of layers that were written anew: the epoch.
inline constexpr std::string_view kRewrittenAnnotation = "buildkit/rewritten-timestamp";

// The typed detail that errors carry when data of a committed snapshot cannot be had any more (blob
// gone everywhere, data damaged): the solver's `Lost`. The value is the id of the record.
inline constexpr std::string_view kLostDetailType = "kiln.store.Lost";
bool IsLost(const Error& error);
Error LostError(const std::string& record_id, std::string message);

}  // namespace kiln::store
