#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cdi/catalog.h"
#include "oci/platform.h"
#include "store/usage.h"

namespace moby::buildkit::v1::types {
class BuildkitVersion;
class WorkerRecord;
}  // namespace moby::buildkit::v1::types

namespace kiln::control {

// What Info and ListWorkers say, beside ProtocolVersion().
inline constexpr std::string_view kPackage = "kiln";
inline constexpr std::string_view kDockerfileVersion = "1.28.0";
inline constexpr std::string_view kWorkerLabelPrefix = "org.mobyproject.buildkit.worker.";

// How requests to registries and web servers call us: upstream's form for the version that is
// served ("buildkit/v0.34"), ours behind it.
std::string UserAgent();

// The one worker of the daemon.
struct WorkerInfo {
  std::string id;
  std::map<std::string, std::string> labels;
  std::vector<oci::Platform> platforms;  // the first is the default
  std::vector<store::PruneRule> gc_policy;
};

void ToProto(const WorkerInfo& worker, moby::buildkit::v1::types::WorkerRecord* out);
void DevicesToProto(const cdi::Catalog& catalog, moby::buildkit::v1::types::WorkerRecord* out);
void VersionToProto(moby::buildkit::v1::types::BuildkitVersion* out);

}  // namespace kiln::control
