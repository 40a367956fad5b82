#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "llb/build.h"
#include "llb/source_id.h"
#include "oci/platform.h"

namespace kiln::dockerfile {

struct ImageRequest {
  std::string ref;  // normalised, with a tag or digest
  oci::Platform platform;
  llb::ResolveMode resolve_mode = llb::ResolveMode::kDefault;
  std::string log_name;  // what the user sees while it is looked up
  // An OCI layout of the client's, instead of a registry.
  bool oci_layout = false;
  std::string session_id;
  std::string store_id;
};

struct ImageInfo {
  std::string ref;               // may differ from the one asked for: a source policy changed it
  std::optional<Digest> digest;  // of the top object
  std::string config;            // JSON
  // What a source policy made of the image, if that is none any more: nothing else is set.
  std::optional<llb::SourceSpec> source;
};

// Where a vertex's description has the instruction as written.
inline constexpr std::string_view kCommandKey = "com.docker.dockerfile.v1.command";

// What lowering must ask the world for. All calls may block and come from the thread that lowers.
class Host {
 public:
  virtual ~Host() = default;
  // One answer per request, in order. Repeated requests are answered from memory, failures too.
  virtual std::vector<Result<ImageInfo>> ResolveImages(
      const std::vector<ImageRequest>& requests) = 0;
  // Makes the tree and reads a file of it; nullopt if there is no such file.
  virtual Result<std::optional<std::string>> ReadFile(const llb::Output& tree,
                                                      const std::string& path) = 0;
  // As ReadFile; nullopt also if the tree is a folder that no client shares.
  virtual Result<std::optional<std::string>> ReadIfShared(const llb::Output& tree,
                                                          const std::string& path) {
    return ReadFile(tree, path);
  }
  // Its first bytes only, at most so many.
  virtual Result<std::optional<std::string>> ReadPrefix(const llb::Output& tree,
                                                        const std::string& path,
                                                        std::size_t bytes) = 0;
  // The tree given with the request under that name (`input:` contexts).
  virtual Result<std::optional<llb::Output>> Input(const std::string& name) = 0;
  // When the content of a remote source was made, in seconds: a git ref's commit, a file's
  // Last-Modified. nullopt: nobody says. Shown as a step of that name.
  virtual Result<std::optional<std::int64_t>> SourceTime(const llb::SourceSpec& /*source*/,
                                                         const std::string& /*log_name*/) {
    return std::optional<std::int64_t>();
  }
  // Where steps run: the first platform of the first worker.
  virtual oci::Platform build_platform() const = 0;
  // The session that local sources are read from.
  virtual std::string session_id() const = 0;
};

}  // namespace kiln::dockerfile
