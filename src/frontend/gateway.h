#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "build/job.h"
#include "build/result.h"
#include "build/source_policy.h"
#include "llb/source_id.h"
#include "oci/platform.h"
#include "source/sources.h"

namespace kiln::frontend {

class Frontend;

// One request to a frontend, or for a definition.
struct Request {
  std::shared_ptr<const pb::Definition> definition;  // null: a frontend is asked
  std::string frontend;                              // "dockerfile.v0"
  std::map<std::string, std::string> opts;
  std::map<std::string, std::shared_ptr<const pb::Definition>> inputs;
  // Serialized moby.buildkit.v1.sourcepolicy.Policy of this request, besides the build's.
  std::vector<std::string> source_policies;
  // Works out every reference before answering.
  bool evaluate = false;
};

// What the daemon lends to all gateways; outlives them.
struct Services {
  const source::Sources* sources = nullptr;
  const Clock* clock = nullptr;
  std::vector<oci::Platform> platforms;  // of the worker; the first is the default
  // Enabled frontends by name.
  std::map<std::string, std::shared_ptr<Frontend>> frontends;
};

struct ImageQuery {
  llb::SourceId id;  // an image or an OCI layout
  oci::Platform platform;
  std::string log_name;  // "[internal] load metadata for …"; empty: made from the identifier
  bool with_config = true;
};
struct ImageAnswer {
  llb::SourceId
      id;  // as asked, or as a source policy has rewritten it; no image: nothing below is set
  Digest digest;
  std::string config;  // JSON
};

// What is known of a source of any kind before it is fetched.
struct SourceQuery {
  llb::SourceId id;
  oci::Platform platform;
  std::string log_name;
  bool with_config = true;                                   // images
  std::optional<source::FileChecksumRequest> file_checksum;  // http
  bool git_objects = false;                                  // git
};
struct SourceAnswer {
  llb::SourceId id;  // as asked, or as a source policy has rewritten it
  // Nothing for kinds that have no metadata, and when an image has become something else: whoever
  // asked starts over then.
  std::variant<std::monostate, source::ImageMeta, source::HttpMeta, source::GitMeta> meta;
};

// What a frontend may ask of the daemon while it turns a request into a result: one per build,
// shared by nested requests, clients on the bridge and the built-in frontends. Safe from any
// thread; everything blocks.
class Gateway : public std::enable_shared_from_this<Gateway> {
 public:
  Gateway(const Services& services, build::JobPtr job, std::string session_id);

  const build::JobPtr& job() const { return job_; }
  const Services& services() const { return services_; }
  // The session of the client that asked for the build.
  const std::string& session_id() const { return session_id_; }

  // Loads a definition, or runs a frontend (at most the job's depth deep).
  Result<build::BuildResult> Solve(const progress::Activity& activity, const Request& request);
  // `query.id` is an image or an OCI layout. Shown as a step named `log_name`. Answers are
  // remembered for the build.
  Result<ImageAnswer> ResolveImage(const progress::Activity& activity, const ImageQuery& query);
  // Of any source; the same for images.
  Result<SourceAnswer> ResolveSource(const progress::Activity& activity, const SourceQuery& query);
  void Warn(const progress::VertexWarning& warning);

 private:
  Result<SourceAnswer> Resolve(const progress::Activity& activity, const SourceQuery& query,
                               const llb::SourceId& id);
  Result<build::BuildResult> Run(const progress::Activity& activity, const Request& request);

  const Services& services_;
  const build::JobPtr job_;
  const std::string session_id_;
  source::MetaCache metas_;
  std::shared_ptr<source::JobView> view_;  // as long as the build
};
using GatewayPtr = std::shared_ptr<Gateway>;

// Turns a request into references. Stateless, shared by all builds.
class Frontend {
 public:
  virtual ~Frontend() = default;
  // Runs on a thread that may block. References of the result are lazy.
  virtual Result<build::BuildResult> Solve(const progress::Activity& activity,
                                           const GatewayPtr& gateway, const Request& request) = 0;
};

}  // namespace kiln::frontend
