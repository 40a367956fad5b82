#include "control/requests.h"

#include <memory>

#include "base/strings.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;

constexpr int kNewestCompatibility = 30;
constexpr char kEpochArgument[] = "build-arg:SOURCE_DATE_EPOCH";
constexpr char kEpochAttribute[] = "source-date-epoch";

// "attest:sbom" and "attest:provenance" may be given only to say that there shall be none.
bool IsDisabledAttestation(std::string_view value) {
  for (const std::string_view part : Split(value, ',')) {
    const auto pair = Cut(part, "=");
    if (pair && pair->first == "disabled" && ParseBool(pair->second).value_or(false)) return true;
  }
  return value == "false";
}

Result<uint64_t> Bytes(int64_t value, std::string_view name) {
  if (value < 0) return InvalidArgument("{} is negative", name);
  return static_cast<uint64_t>(value);
}

// Whether the client can do without a cache's export.
bool MayFail(const pb::CacheOptionsEntry& entry) {
  const auto found = entry.attrs().find("ignore-error");
  return found != entry.attrs().end() && ParseBool(found->second).value_or(false);
}

Error ExportError(const std::string& type) {
  return Unimplemented(
      "exporting cache to {} is not supported by this build server: leave --cache-to out, or give "
      "it ignore-error=true to build without",
      Quoted(type));
}

// "importing cache from registry localhost:5000/cache".
std::string CacheStep(std::string_view verb, const pb::CacheOptionsEntry& entry) {
  std::string step = fmt::format("{} {}", verb, entry.type());
  for (const char* key : {"ref", "src", "dest", "name"}) {
    const auto found = entry.attrs().find(key);
    if (found != entry.attrs().end()) return step + " " + found->second;
  }
  return step;
}

}  // namespace

std::vector<UnservedCache> UnservedCachesOf(const pb::SolveRequest& request) {
  const Error why =
      Unimplemented("remote caches are not supported by this build server: building without it");
  const pb::CacheOptions& cache = request.cache();
  std::vector<UnservedCache> unserved;
  for (const pb::CacheOptionsEntry& entry : cache.imports())
    unserved.push_back({CacheStep("importing cache from", entry), why});
  for (const std::string& reference : cache.importrefsdeprecated())
    unserved.push_back({"importing cache from registry " + reference, why});
  // An option of the frontend, by which old clients ask.
  const auto option = request.frontendattrs().find("cache-from");
  if (unserved.empty() && option != request.frontendattrs().end() && !option->second.empty())
    unserved.push_back({"importing cache from registry " + option->second, why});
  for (const pb::CacheOptionsEntry& entry : cache.exports()) {
    if (MayFail(entry)) unserved.push_back({CacheStep("exporting cache to", entry), why});
  }
  return unserved;
}

frontend::Request RequestOf(const pb::SolveRequest& from) {
  frontend::Request request;
  if (from.has_definition() && from.definition().def_size() > 0) {
    request.definition = std::make_shared<const ::pb::Definition>(from.definition());
  }
  request.frontend = from.frontend();
  request.opts.insert(from.frontendattrs().begin(), from.frontendattrs().end());
  for (const auto& [name, definition] : from.frontendinputs()) {
    request.inputs[name] = std::make_shared<const ::pb::Definition>(definition);
  }
  return request;
}

std::vector<exporter::Request> ExportersOf(const pb::SolveRequest& request) {
  std::vector<exporter::Request> exporters;
  for (const pb::Exporter& from : request.exporters()) {
    exporters.push_back({from.type(), {from.attrs().begin(), from.attrs().end()}});
  }
  // Clients send both; the old pair repeats the first of the new ones.
  if (exporters.empty() && !request.exporterdeprecated().empty()) {
    const auto& attrs = request.exporterattrsdeprecated();
    exporters.push_back({request.exporterdeprecated(), {attrs.begin(), attrs.end()}});
  }
  const auto epoch = request.frontendattrs().find(kEpochArgument);
  if (epoch == request.frontendattrs().end()) return exporters;
  if (!epoch->second.empty() && !ParseInt(epoch->second)) return exporters;
  for (exporter::Request& one : exporters) one.attrs.emplace(kEpochAttribute, epoch->second);
  return exporters;
}

Result<int> CompatibilityVersionOf(const pb::SolveRequest& request) {
  const int64_t version = request.compatibilityversion();
  if (version == 0) return kNewestCompatibility;
  if (version == 10 || version == 20 || version == 30) return static_cast<int>(version);
  if (version > kNewestCompatibility) {
    return InvalidArgument(
        "unsupported compatibility-version {}, upgrade buildkit (max supported: {})", version,
        kNewestCompatibility);
  }
  return InvalidArgument("unsupported compatibility-version {}", version);
}

Status CheckServed(const pb::SolveRequest& request) {
  const pb::CacheOptions& cache = request.cache();
  for (const pb::CacheOptionsEntry& entry : cache.exports()) {
    if (!MayFail(entry)) return ExportError(entry.type());
  }
  if (!cache.exportrefdeprecated().empty()) return ExportError("registry");
  for (const auto& [key, value] : request.frontendattrs()) {
    if (key.starts_with("attest:") && !IsDisabledAttestation(value)) {
      return Unimplemented(
          "{} is not supported by this build server: build without attestations "
          "(--provenance=false --sbom=false, or BUILDX_NO_DEFAULT_ATTESTATIONS=1)",
          key);
    }
  }
  if (request.enablesessionexporter())
    return Unimplemented("session exporters are not supported by this build server");
  if (!request.sourcepolicysession().empty()) {
    return Unimplemented("source policies of a session are not supported by this build server");
  }
  if (request.proxynetwork())
    return Unimplemented("the proxy network is not supported by this build server");
  return OkStatus();
}

Result<store::PruneRule> RuleOf(const pb::PruneRequest& request) {
  store::PruneRule rule;
  rule.all = request.all();
  rule.filters.assign(request.filter().begin(), request.filter().end());
  if (request.keepduration() < 0) return InvalidArgument("keepDuration is negative");
  rule.keep_duration = std::chrono::nanoseconds(request.keepduration());
  TRY_ASSIGN(rule.reserved_bytes, Bytes(request.reservedspace(), "reservedSpace"));
  TRY_ASSIGN(rule.max_used_bytes, Bytes(request.maxusedspace(), "maxUsedSpace"));
  TRY_ASSIGN(rule.min_free_bytes, Bytes(request.minfreespace(), "minFreeSpace"));
  return rule;
}

}  // namespace kiln::control
