#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/host.h"
#include "dockerfile/local_tree.h"
#include "dockerfile/options.h"
#include "llb/build.h"
#include "oci/image_config.h"
#include "oci/platform.h"

namespace kiln::dockerfile {

// A tree that no stage makes: an image, scratch, or a named context.
struct External {
  std::string name;  // as written
  oci::Platform platform;
  std::string context_key;              // the key of the named context; empty: an image
  std::optional<ImageRequest> request;  // images: what to look up
  bool resolved = false;
  std::optional<Error> failure;

  // Known once resolved:
  bool scratch = false;
  std::string ref;                        // images: pinned, but for those of contexts
  std::string written_ref;                // of a context's image
  llb::Output fixed;                      // contexts that are no images
  std::optional<llb::SourceSpec> source;  // where `fixed` comes from, if from a remote place
  LocalTree* local = nullptr;
  oci::ImageConfig config;  // of an image, or what a tree without one starts from
  bool has_config = false;

  // The tree. Unless a context names it, an image's vertex is called `vertex_name`, and it says
  // where and with which command it was asked for.
  llb::Output Tree(const std::string& vertex_name, const Options& options,
                   std::vector<llb::SourceLocation> locations, const std::string& command) const;
};

// Why a reference could not be parsed, for a message that names it already.
std::string WhyBadReference(const Error& error);

// What a stage begins with or reads must be called like an image, whatever it is then.
Status CheckTreeName(const std::string& name);

// Finds out what names stand for. One per conversion.
class Externals {
 public:
  Externals(const Options& options, Host& host, bool show_platform)
      : options_(options), host_(host), show_platform_(show_platform) {}

  // The named context for `name`, or null. A folder of the client's is another one each time: what
  // is transferred of it depends on the use.
  Result<External*> Context(const std::string& name, const oci::Platform& platform);
  // Context, scratch or image.
  Result<External*> Need(const std::string& name, const oci::Platform& platform);

  // Looks up all images that were asked for since, at once. Failures stay with their external.
  void ResolvePending();
  // Fixes what is transferred of local contexts.
  void FinishLocals();

 private:
  using Key = std::pair<std::string, std::string>;

  External* Known(const Key& key) const;
  External* Keep(std::unique_ptr<External> external);
  Status OpenContext(External& external, const std::string& value);
  Status OpenImage(External& external, const std::string& ref);
  Status OpenOciLayout(External& external, const std::string& value);
  Status OpenLocal(External& external, const std::string& name);
  Status OpenInput(External& external, const std::string& name);
  Status Adopt(External& external, const ImageInfo& info);
  Status Replace(External& external, const llb::SourceSpec& source);

  const Options& options_;
  Host& host_;
  const bool show_platform_;
  std::vector<std::unique_ptr<External>> all_;
  std::map<Key, External*> known_;
  std::vector<External*> pending_;
  std::vector<std::unique_ptr<LocalTree>> locals_;
};

}  // namespace kiln::dockerfile
