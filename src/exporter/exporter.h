#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/pool.h"
#include "build/job.h"
#include "build/result.h"
#include "progress/activity.h"

namespace kiln::registry {
class Registry;
}
namespace kiln::session {
class Manager;
}

namespace kiln::exporter {

// What exporters use; everything outlives them. `sessions` may be null where nothing can be sent to
// a client.
struct Services {
  store::Store* store = nullptr;
  session::Manager* sessions = nullptr;
  registry::Registry* registry = nullptr;
  const Clock* clock = nullptr;
  WorkerPool* blocking = nullptr;
};

// One entry of SolveRequest.Exporters.
struct Request {
  std::string type;
  std::map<std::string, std::string> attrs;
};

// What an export says back: entries of ExporterResponse, and what remains to be done once all
// exporters are through (pushing).
struct Exported {
  std::map<std::string, std::string> response;
  std::function<Status(const progress::Activity&)> finalize;  // may be null
};

// Writes build results somewhere. Made, and its attributes checked, before the build.
class Exporter {
 public:
  virtual ~Exporter() = default;
  // "exporting to image": the name of its step.
  virtual std::string name() const = 0;
  // All references were evaluated. `vertex` is the exporter's step, under which statuses are
  // reported. Blocks.
  virtual Result<Exported> Export(const progress::Activity& activity,
                                  const build::BuildResult& result, const Digest& vertex) = 0;
};

// Types image, oci, docker, local and tar. `index` is the exporter's id on the session. Errors:
// `exporter "x" could not be found`; a malformed attribute; an attribute value that is not served.
Result<std::unique_ptr<Exporter>> Make(const Services& services, const Request& request, int index,
                                       const std::string& session_id);

// All of a build's exporters, made together.
class ExporterSet {
 public:
  static Result<ExporterSet> Make(const Services& services, const std::vector<Request>& requests,
                                  const std::string& session_id);

  bool empty() const { return exporters_.empty(); }
  // Evaluated results only. Runs them concurrently, each under its step, then what they left for
  // later, again under it. The merged responses, later exporters' entries winning.
  Result<std::map<std::string, std::string>> Run(const progress::Activity& activity,
                                                 const build::BuildResult& result);

 private:
  Status RunOne(const progress::Activity& activity, size_t index,
                const std::function<Status(const Digest&)>& work);

  Services services_;
  std::string session_id_;
  std::vector<std::unique_ptr<Exporter>> exporters_;
};

}  // namespace kiln::exporter
