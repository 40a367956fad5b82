#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "archive/stream.h"
#include "base/result.h"
#include "base/time.h"
#include "client/connection.h"
#include "client/docker_config.h"
#include "progress/activity.h"

namespace kiln::client {

// Takes the bytes of an output in place of a file. Dropped without Finish: they are not whole.
class OutputSink : public archive::ByteSink {
 public:
  // All has arrived.
  virtual Status Finish() = 0;
};

// One thing a build writes.
struct Output {
  std::string type;                          // "image", "local", "tar", "oci", "docker"
  std::map<std::string, std::string> attrs;  // sent to the daemon ("dest" is not)
  // Where what the daemon sends goes: a folder for "local", else a file; "-" is standard output.
  // Empty: nothing is sent.
  std::string dest;
  // With "oci" or "docker": the image goes into an OCI layout in the folder `dest` (`tar=false`),
  // one output of a build at most.
  bool layout = false;
  std::shared_ptr<OutputSink> sink;  // set: in place of `dest`

  bool IsStream() const { return !layout && (sink != nullptr || !dest.empty()); }
};

struct CacheEntry {
  std::string type;
  std::map<std::string, std::string> attrs;
};

// The largest secret that is served.
inline constexpr size_t kMaxSecretBytes = size_t{500} << 10;

// A secret by exactly one of: file, environment variable, value.
struct Secret {
  std::string id;
  std::string file;
  std::string env;
  std::optional<std::string> value;
};

// An SSH agent to forward. Builds may list its keys and sign with them, nothing else.
struct SshAgent {
  std::string id;  // "" is "default"
  std::string socket;
};

// What the daemon may read, once, as http://buildkit-session/<id>: a context on standard input.
struct Upload {
  std::string id;
  std::string begin;  // what has been read of it already
  int rest = -1;      // a descriptor with what follows; not owned
  std::string url() const { return "http://buildkit-session/" + id; }
};

// What a registry's token server is asked for (Docker's token authentication), by whom.
struct WantedToken {
  std::string host;
  std::string realm;
  std::string service;
  std::vector<std::string> scopes;
};
struct FetchedToken {
  SecretString token;
  std::chrono::seconds expires_in{0};  // 0: not said
  WallTime issued_at{};                // not set: not said
};
// Called from any thread, by several at once; ends with the activity.
using TokenFetcher = std::function<Result<FetchedToken>(
    const progress::Activity& activity, const WantedToken& wanted, const RegistryLogin& login)>;

struct BuildRequest {
  std::string ref;  // empty: a fresh id
  // Either a frontend with attributes, or a serialized pb.Definition.
  std::string frontend = "dockerfile.v0";
  std::map<std::string, std::string> frontend_attrs;
  std::string definition;
  std::map<std::string, std::string> local_dirs;  // "context", "dockerfile" → folder
  std::map<std::string, std::string>
      oci_layouts;         // store id → folder: images that "oci-layout://<store id>@…" names
  std::string shared_key;  // names the client's folders between builds; may be empty
  std::vector<Output> outputs;
  std::vector<CacheEntry> cache_imports;
  std::vector<CacheEntry> cache_exports;
  std::vector<Secret> secrets;
  std::vector<SshAgent> ssh_agents;
  std::optional<Upload> upload;
  std::vector<std::string> entitlements;
  // Serialized moby.buildkit.v1.sourcepolicy.Policy; empty: none.
  std::string source_policy;
  bool internal = false;  // no history record
  // What modes of files and folders made for outputs lose, beside what the process's umask takes.
  mode_t umask = 0;
  // Folder of Docker's config.json; empty: $DOCKER_CONFIG, else ~/.docker.
  std::string docker_config_dir;
  // Null: registries whose credentials are kept by a helper are used anonymously.
  DockerConfig::Helper credential_helper;
  // Fetches registries' tokens, so that passwords stay with the client. Null: the daemon is given
  // passwords and fetches them itself.
  TokenFetcher fetch_token;
};

// Attribute of a recorded build: the folder that was its context.
inline constexpr std::string_view kContextAttr = "kiln.context";

struct BuildReport {
  std::string ref;
  std::map<std::string, std::string> exporter_response;
  std::map<std::string, std::string> metadata;  // of the frontend's result: "result.json", …
};

// Runs one build from beginning to end and reports its progress to the activity's sink. Blocks.
// Cancelling the activity cancels the build. Errors are the daemon's, details unchanged.
Result<BuildReport> Build(const Connection& connection, const BuildRequest& request,
                          const progress::Activity& activity);

}  // namespace kiln::client
