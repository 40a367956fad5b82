#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "llb/build.h"
#include "llb/source_id.h"
#include "oci/platform.h"

// The options of the Dockerfile frontend (`FrontendAttrs` of the wire), as typed values.
namespace kiln::dockerfile {

struct CacheImport {
  std::string type;
  std::map<std::string, std::string> attrs;
};

struct Options {
  std::string filename = "Dockerfile";
  std::string target;                    // as written; "" is the last stage
  std::vector<oci::Platform> platforms;  // normalised; empty: not asked for
  std::optional<bool> multi_platform;
  std::map<std::string, std::string> build_args;
  std::map<std::string, std::string> labels;
  bool no_cache = false;                     // for every stage
  std::vector<std::string> no_cache_stages;  // lower case; for these only
  llb::ResolveMode resolve_mode = llb::ResolveMode::kDefault;
  llb::NetworkMode network = llb::NetworkMode::kSandbox;
  std::vector<llb::ExtraHost> extra_hosts;
  std::int64_t shm_size_bytes = 0;
  std::vector<llb::Ulimit> ulimits;
  std::string cgroup_parent;
  std::string hostname;
  std::optional<llb::LinuxResources> linux_resources;
  std::vector<CacheImport> cache_imports;
  std::string context;           // remote main context; "" is the local source `context`
  std::string dockerfile_local;  // the local source to read from although the context is elsewhere
  std::string context_subdir;
  std::map<std::string, std::string> named_contexts;  // NAME or NAME::PLATFORM → value
  std::map<std::string, std::string> input_metadata;  // NAME → JSON
  std::map<std::string, std::string> local_sessions;  // local source → session
  std::map<std::string, std::string> shared_keys;     // local source → hint suffix
  std::string request_id;
  std::vector<std::string> caps;  // as given, with suffixes
  bool has_cmdline = false;       // the caller already followed `# syntax=`
  std::string cache_mount_ns;
  bool keep_git_dir = false;
  bool git_advice = false;

  // Map-style results: one reference per platform under its name.
  bool IsMultiPlatform() const { return multi_platform.value_or(platforms.size() > 1); }
  std::optional<std::string> BuildArg(std::string_view name) const;
};

// Unknown keys and bad values are errors that name the key.
Result<Options> ParseOptions(const std::map<std::string, std::string>& attrs);

// The words of stock clients' library for a text that is no JSON at all.
std::string GoJsonError(std::string_view text);

// `frontend.caps`: fails on one this frontend does not have. With `forwardable` such that carry
// "+forward" pass.
Status CheckCaps(const Options& options, bool forwardable);

}  // namespace kiln::dockerfile
