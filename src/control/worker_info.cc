#include "control/worker_info.h"

#include <fmt/format.h>
#include <moby/buildkit/v1/types/worker.pb.h>

#include "base/version.h"

namespace kiln::control {

std::string UserAgent() {
  const std::string version = ProtocolVersion();
  const std::string_view served = std::string_view(version).substr(0, version.find("+kiln."));
  return fmt::format("buildkit/{} kiln/{}", served.substr(0, served.rfind('.')), Version());
}

void VersionToProto(moby::buildkit::v1::types::BuildkitVersion* out) {
  out->set_package(std::string(kPackage));
  out->set_version(ProtocolVersion());
  out->set_dockerfileversion(std::string(kDockerfileVersion));
}

void DevicesToProto(const cdi::Catalog& catalog, moby::buildkit::v1::types::WorkerRecord* out) {
  for (const cdi::Entry& entry : catalog.devices()) {
    auto* device = out->add_cdidevices();
    device->set_name(entry.name);
    device->set_autoallow(entry.auto_allowed);
    device->mutable_annotations()->insert(entry.annotations.begin(), entry.annotations.end());
  }
}

void ToProto(const WorkerInfo& worker, moby::buildkit::v1::types::WorkerRecord* out) {
  out->set_id(worker.id);
  out->mutable_labels()->insert(worker.labels.begin(), worker.labels.end());
  for (const oci::Platform& platform : worker.platforms) {
    auto* to = out->add_platforms();
    to->set_os(platform.os);
    to->set_architecture(platform.architecture);
    to->set_variant(platform.variant);
    to->set_osversion(platform.os_version);
    for (const std::string& feature : platform.os_features) to->add_osfeatures(feature);
  }
  for (const store::PruneRule& rule : worker.gc_policy) {
    auto* to = out->add_gcpolicy();
    to->set_all(rule.all);
    to->set_keepduration(rule.keep_duration.count());
    for (const std::string& filter : rule.filters) to->add_filters(filter);
    to->set_reservedspace(static_cast<int64_t>(rule.reserved_bytes));
    to->set_maxusedspace(static_cast<int64_t>(rule.max_used_bytes));
    to->set_minfreespace(static_cast<int64_t>(rule.min_free_bytes));
  }
  VersionToProto(out->mutable_buildkitversion());
}

}  // namespace kiln::control
