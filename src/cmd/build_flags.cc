#include "cmd/build_flags.h"

#include <arpa/inet.h>

#include <cstdlib>
#include <filesystem>

#include "base/csv.h"
#include "base/strings.h"
#include "client/source_policy.h"
#include "cmd/build_parts.h"
#include "cmd/values.h"
#include "oci/reference.h"

namespace kiln::cmd {
namespace {

std::string JoinComma(const std::vector<std::string>& parts) { return Join(parts, ","); }

// Build arguments without a value take it from the environment; unset ones are left out.
Status AddBuildArgs(const BuildFlags& flags, Attrs& attrs) {
  for (const auto& arg : flags.build_args) {
    if (auto cut = Cut(arg, "=")) {
      if (cut->first.empty()) {
        return InvalidArgument("invalid value {} for --build-arg: want KEY=VALUE", Quoted(arg));
      }
      attrs["build-arg:" + std::string(cut->first)] = cut->second;
    } else if (const char* value = std::getenv(arg.c_str())) {
      attrs["build-arg:" + arg] = value;
    }
  }
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && *epoch != '\0')
    attrs.emplace("build-arg:SOURCE_DATE_EPOCH", epoch);
  return OkStatus();
}

Status AddPairs(const std::string& flag, const std::string& prefix,
                const std::vector<std::string>& texts, Attrs& attrs) {
  for (const auto& text : texts) {
    TRY_ASSIGN(auto pair, KeyValue(flag, text));
    attrs[prefix + pair.first] = pair.second;
  }
  return OkStatus();
}

bool IsAddress(const std::string& text) {
  in6_addr address;
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

Status AddHosts(const BuildFlags& flags, Attrs& attrs) {
  std::vector<std::string> hosts;
  for (const auto& text : flags.add_hosts) {
    size_t at = text.find_first_of("=:");
    if (at == std::string::npos || at == 0)
      return InvalidArgument("invalid value {} for --add-host: want host:ip", Quoted(text));
    std::string ip = text.substr(at + 1);
    if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
    if (!IsAddress(ip)) {
      return InvalidArgument("invalid value {} for --add-host: {} is not an IP address",
                             Quoted(text), Quoted(ip));
    }
    hosts.push_back(text.substr(0, at) + "=" + ip);
  }
  if (!hosts.empty()) attrs["add-hosts"] = JoinComma(hosts);
  return OkStatus();
}

Status AddNetwork(const BuildFlags& flags, PreparedBuild& build) {
  if (flags.network.empty() || flags.network == "default") return OkStatus();
  if (flags.network != "host" && flags.network != "none") {
    return InvalidArgument(
        "network mode {} is not supported by --network: want default, host or none",
        Quoted(flags.network));
  }
  build.request.frontend_attrs["force-network-mode"] = flags.network;
  if (flags.network == "host") build.request.entitlements.push_back("network.host");
  return OkStatus();
}

// Asks about the Dockerfile instead of building it: nothing is written then.
Status AddCall(const BuildFlags& flags, PreparedBuild& build) {
  TRY_ASSIGN(build.call, ParseCallMethod(flags.check ? "check" : flags.call));
  if (build.call.name.empty()) return AddOutputs(flags, build);
  auto& attrs = build.request.frontend_attrs;
  attrs["requestid"] = "frontend." + build.call.name;
  attrs["frontend.caps"] = "moby.buildkit.frontend.subrequests+forward";
  return OkStatus();
}

// References alone, as `--cache-from one,two`, are of registries.
Status AddCaches(const std::string& flag, const std::vector<std::string>& texts,
                 std::vector<client::CacheEntry>& entries) {
  for (const auto& text : texts) {
    if (text.find('=') == std::string::npos) {
      TRY_ASSIGN_CTX(const auto references, ParseCsv(text), "{}", flag);
      for (const auto& reference : references)
        entries.push_back({"registry", {{"ref", reference}}});
      continue;
    }
    client::CacheEntry entry;
    TRY_ASSIGN(entry.attrs, KeyValues(flag, text));
    entry.type = std::exchange(entry.attrs["type"], "");
    entry.attrs.erase("type");
    if (entry.type.empty()) return InvalidArgument("{} {}: type required", flag, Quoted(text));
    entries.push_back(std::move(entry));
  }
  return OkStatus();
}

// Attestations may be asked for only to say that there shall be none.
Status CheckAttestations(const BuildFlags& flags) {
  const auto refuse = [](const char* flag) {
    return Unimplemented(
        "{}: attestations (SBOM and provenance) are not served yet; leave the flag out or disable "
        "it",
        flag);
  };
  for (const auto& [flag, text] :
       {std::pair("--provenance", flags.provenance), std::pair("--sbom", flags.sbom)}) {
    if (!text.empty() && ParseBool(text).value_or(true)) return refuse(flag);
  }
  for (const auto& text : flags.attests) {
    TRY_ASSIGN(const Attrs attrs, KeyValues("--attest", text));
    const auto disabled = attrs.find("disabled");
    if (!attrs.contains("type")) return InvalidArgument("--attest {}: type required", Quoted(text));
    if (disabled == attrs.end() || !ParseBool(disabled->second).value_or(false))
      return refuse("--attest");
  }
  return OkStatus();
}

// Named by the flag, else by the variable that names it for buildctl and buildx.
Status AddSourcePolicy(const BuildFlags& flags, PreparedBuild& build) {
  std::string file = flags.source_policy_file;
  if (const char* named = std::getenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY");
      file.empty() && named != nullptr) {
    file = named;
  }
  if (file.empty()) return OkStatus();
  TRY_ASSIGN(build.request.source_policy, client::ReadSourcePolicy(file));
  return OkStatus();
}

}  // namespace

PreparedBuild::~PreparedBuild() {
  std::error_code ignored;
  if (!temporary_dir.empty()) std::filesystem::remove_all(temporary_dir, ignored);
}

Result<std::pair<std::string, std::string>> KeyValue(const std::string& flag,
                                                     const std::string& text) {
  auto cut = Cut(text, "=");
  if (!cut || cut->first.empty())
    return InvalidArgument("invalid value {} for {}: want key=value", Quoted(text), flag);
  return std::pair{std::string(cut->first), std::string(cut->second)};
}

Result<Attrs> KeyValues(const std::string& flag, const std::string& text) {
  TRY_ASSIGN_CTX(auto pairs, ParseKeyValues(text), "{}", flag);
  Attrs attrs;
  for (auto& [key, value] : pairs) attrs[key] = std::move(value);
  return attrs;
}

Result<PreparedBuild> Prepare(const BuildFlags& flags) {
  PreparedBuild build;
  auto& attrs = build.request.frontend_attrs;
  build.request.entitlements = flags.allow;
  TRY(CheckAttestations(flags));
  TRY(AddContexts(flags, build));
  TRY(AddBuildArgs(flags, attrs));
  TRY(AddPairs("--label", "label:", flags.labels, attrs));
  TRY(AddHosts(flags, attrs));
  TRY(AddNetwork(flags, build));
  if (!flags.target.empty()) attrs["target"] = flags.target;
  if (flags.no_cache) attrs["no-cache"] = "";
  if (!flags.no_cache_filters.empty()) {
    if (flags.no_cache)
      return InvalidArgument("--no-cache and --no-cache-filter cannot currently be used together");
    attrs["no-cache"] = JoinComma(flags.no_cache_filters);
  }
  if (flags.pull) attrs["image-resolve-mode"] = "pull";
  if (!flags.platforms.empty()) attrs["platform"] = JoinComma(flags.platforms);
  if (!flags.ulimits.empty()) attrs["ulimit"] = JoinComma(flags.ulimits);
  if (!flags.cgroup_parent.empty()) attrs["cgroup-parent"] = flags.cgroup_parent;
  if (!flags.shm_size.empty()) {
    TRY_ASSIGN(int64_t bytes, ParseSize("--shm-size", flags.shm_size));
    attrs["shm-size"] = std::to_string(bytes);
  }
  TRY(AddResources(flags, attrs));
  for (const auto& tag : flags.tags)
    TRY_CTX(oci::Reference::ParseNormalized(tag), "invalid tag {}", Quoted(tag));
  TRY(AddCall(flags, build));
  TRY(AddSecrets(flags, build));
  TRY(AddSsh(flags, build));
  TRY(AddSourcePolicy(flags, build));
  TRY(AddCaches("--cache-from", flags.cache_from, build.request.cache_imports));
  TRY(AddCaches("--cache-to", flags.cache_to, build.request.cache_exports));
  return build;
}

}  // namespace kiln::cmd
