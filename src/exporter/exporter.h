#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/pool.h"
#include "build/job.h"
#include "build/result.h"
#include "oci/descriptor.h"
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
  int compatibility_version = 30;  // of the build
};

// A small JSON document of an image: manifest, index or config.
struct Document {
  oci::Descriptor descriptor;
  std::string content;
};

// An image that was exported: what names it, and its documents.
struct ExportedImage {
  oci::Descriptor root;
  std::vector<Document> documents;
};

// What an export says back: entries of ExporterResponse, and what remains to be done once all
// exporters are through (pushing).
struct Exported {
  std::map<std::string, std::string> response;
  std::optional<ExportedImage> image;
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

// What all exporters of a build have done.
struct Outcome {
  std::map<std::string, std::string> response;  // merged; later exporters' entries win
  std::map<int64_t, ExportedImage> images;      // by exporter
};

// All of a build's exporters, made together.
class ExporterSet {
 public:
  static Result<ExporterSet> Make(const Services& services, const std::vector<Request>& requests,
                                  const std::string& session_id);

  bool empty() const { return exporters_.empty(); }
  // Evaluated results only. Runs them concurrently, each under its step, then what they left for
  // later, again under it. The first one's step has the warnings; without any there is one for
  // them.
  Result<Outcome> Run(const progress::Activity& activity, const build::BuildResult& result,
                      const std::vector<std::string>& warnings = {});

 private:
  Status RunOne(const progress::Activity& activity, size_t index,
                const std::function<Status(const Digest&)>& work);

  Services services_;
  std::string session_id_;
  std::vector<std::unique_ptr<Exporter>> exporters_;
};

}  // namespace kiln::exporter
