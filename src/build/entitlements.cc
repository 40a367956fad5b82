#include "build/entitlements.h"

#include <algorithm>
#include <vector>

#include "base/csv.h"
#include "base/strings.h"

namespace kiln::build {
namespace {

constexpr std::string_view kNetworkHost = "network.host";
constexpr std::string_view kSecurityInsecure = "security.insecure";
constexpr std::string_view kDevice = "device";

Status Refusal(const std::vector<std::string>& forbidden) {
  if (forbidden.empty()) return OkStatus();
  if (forbidden.size() == 1)
    return PermissionDenied("device {} is requested by the build but not allowed", forbidden[0]);
  return PermissionDenied("devices {} are requested by the build but not allowed",
                          Join(forbidden, ", "));
}

}  // namespace

Result<Entitlements> Entitlements::Parse(const std::set<std::string>& granted,
                                         const std::set<std::string>& allowed_by_daemon) {
  Entitlements entitlements;
  for (const std::string& text : granted) {
    const auto cut = Cut(text, "=");
    const bool device = (cut ? cut->first : std::string_view(text)) == kDevice;
    const std::string name(device ? kDevice : std::string_view(text));
    if (!device && name != kNetworkHost && name != kSecurityInsecure)
      return InvalidArgument("unknown entitlement {}", name);
    if (!allowed_by_daemon.contains(name)) {
      return PermissionDenied(
          "granting entitlement {} is not allowed by build daemon configuration", name);
    }
    if (device) TRY(entitlements.AddDevices(std::string(cut ? cut->second : "")));
    entitlements.names_.insert(name);
  }
  return entitlements;
}

Status Entitlements::AddDevices(const std::string& text) {
  if (text.empty()) {
    all_devices_ = true;
    return OkStatus();
  }
  TRY_ASSIGN(const std::vector<std::string> fields, ParseCsv(text));
  std::string alias;
  for (size_t i = 1; i < fields.size(); ++i) {
    const auto cut = Cut(fields[i], "=");
    if (!cut) return InvalidArgument("invalid device config {}", Quoted(fields[i]));
    if (cut->first != "alias")
      return InvalidArgument("unknown device config key {}", Quoted(cut->first));
    alias = cut->second;
  }
  devices_[alias.empty() ? fields[0] : alias] = alias.empty() ? "" : fields[0];
  return OkStatus();
}

Status Entitlements::CheckModes(const pb::ExecOp& exec) const {
  const auto need = [&](std::string_view name, bool used) -> Status {
    if (!used || names_.contains(std::string(name))) return OkStatus();
    return PermissionDenied("{} is not allowed", name);
  };
  TRY(need(kNetworkHost, exec.network() == pb::NetMode::HOST));
  return need(kSecurityInsecure, exec.security() == pb::SecurityMode::INSECURE);
}

Status Entitlements::ResolveDevices(const cdi::Catalog& catalog, pb::ExecOp& exec) const {
  if (all_devices_ || exec.cdidevices().empty()) return OkStatus();
  pb::ExecOp resolved;
  std::vector<cdi::Request> requests;
  for (const pb::CDIDevice& device : exec.cdidevices()) {
    const auto alias = devices_.find(device.name());
    if (alias != devices_.end() && !alias->second.empty()) {
      *resolved.add_cdidevices() = device;
      resolved.mutable_cdidevices()->rbegin()->set_name(alias->second);
    } else {
      requests.push_back({.name = device.name(), .optional = device.optional()});
    }
  }
  TRY_ASSIGN(const std::vector<std::string> wanted, catalog.Find(requests));
  std::vector<cdi::Request> grants;
  for (const auto& [name, stands_for] : devices_) {
    if (!wanted.empty() && stands_for.empty()) grants.push_back({.name = name});
  }
  TRY_ASSIGN(const std::vector<std::string> granted, catalog.Find(grants));
  std::vector<std::string> forbidden;
  for (const std::string& name : wanted) {
    if (std::find(granted.begin(), granted.end(), name) == granted.end() &&
        !catalog.Get(name)->auto_allowed) {
      forbidden.push_back(name);
    } else {
      resolved.add_cdidevices()->set_name(name);
    }
  }
  TRY(Refusal(forbidden));
  exec.mutable_cdidevices()->Swap(resolved.mutable_cdidevices());
  return OkStatus();
}

}  // namespace kiln::build
