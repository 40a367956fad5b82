#include <algorithm>

#include "base/byte_size.h"
#include "base/strings.h"
#include "control/config.h"

namespace kiln::control {
namespace {

constexpr uint64_t kBillion = 1'000'000'000;

uint64_t BytesOf(const DiskSize& size, uint64_t total) {
  if (size.percent == 0) return size.bytes;
  if (total == 0) return 2 * kBillion;
  return (total / 100 * static_cast<uint64_t>(size.percent) / (uint64_t{1} << 30) + 1) * kBillion;
}

DiskSize Percent(int percent) { return {.bytes = 0, .percent = percent}; }

store::PruneRule RuleOf(const GcRule& rule, uint64_t total) {
  store::PruneRule out;
  out.all = rule.all;
  out.filters = rule.filters;
  out.keep_duration = rule.keep_duration;
  out.reserved_bytes = BytesOf(rule.reserved, total);
  out.max_used_bytes = BytesOf(rule.max_used, total);
  out.min_free_bytes = BytesOf(rule.min_free, total);
  return out;
}

}  // namespace

Result<DiskSize> ParseDiskSize(std::string_view text) {
  DiskSize size;
  if (text.ends_with('%')) {
    const auto percent = ParseUint(text.substr(0, text.size() - 1));
    if (!percent || *percent == 0 || *percent > 100)
      return InvalidArgument("bad disk size {}", Quoted(text));
    size.percent = static_cast<int>(*percent);
    return size;
  }
  const auto bytes = ParseByteSize(text);
  if (!bytes) return InvalidArgument("bad disk size {}", Quoted(text));
  size.bytes = static_cast<uint64_t>(*bytes);
  return size;
}

Status ApplyKeepStorage(std::string_view text, Config* config) {
  const auto parts = Split(text, ',');
  if (parts.size() > 3)
    return InvalidArgument("bad gc-keepstorage {}: at most three numbers", Quoted(text));
  std::optional<DiskSize>* targets[] = {&config->reserved, &config->min_free, &config->max_used};
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto megabytes = ParseUint(Trim(parts[i]));
    if (!megabytes || *megabytes > UINT64_MAX / 1'000'000)
      return InvalidArgument("bad gc-keepstorage {}", Quoted(text));
    *targets[i] = DiskSize{.bytes = *megabytes * 1'000'000};
  }
  return OkStatus();
}

Status AddEntitlement(const std::string& name, Config* config) {
  if (name != "network.host" && name != "security.insecure" && name != "device")
    return InvalidArgument("invalid entitlement : {}", name);
  config->entitlements.insert(name);
  return OkStatus();
}

Result<LogLevel> ParseLogLevel(std::string_view text) {
  if (text == "trace" || text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warn" || text == "warning") return LogLevel::kWarning;
  if (text == "error" || text == "fatal" || text == "panic") return LogLevel::kError;
  return InvalidArgument("unknown log level {}", Quoted(text));
}

Result<LogFormat> ParseLogFormat(std::string_view text) {
  if (text == "text") return LogFormat::kText;
  if (text == "json") return LogFormat::kJson;
  return InvalidArgument("unsupported log type {}", Quoted(text));
}

Result<std::vector<oci::Platform>> ParsePlatforms(const std::vector<std::string>& texts) {
  std::vector<oci::Platform> platforms;
  for (const std::string& text : texts) {
    TRY_ASSIGN(oci::Platform platform, oci::ParsePlatform(text));
    platforms.push_back(oci::Normalize(std::move(platform)));
  }
  return platforms;
}

std::vector<store::PruneRule> GcRulesOf(const Config& config, uint64_t total) {
  std::vector<store::PruneRule> rules;
  if (!config.gc) return rules;
  for (const GcRule& rule : config.gc_policy) rules.push_back(RuleOf(rule, total));
  if (!rules.empty()) return rules;
  const auto capped = [&](const std::optional<DiskSize>& set, int percent, uint64_t cap) {
    if (set) return BytesOf(*set, total);
    return std::min(BytesOf(Percent(percent), total), cap);
  };
  const uint64_t reserved = capped(config.reserved, 10, 10 * kBillion);
  const uint64_t max_used = capped(config.max_used, 80, 100 * kBillion);
  const uint64_t min_free =
      config.min_free ? BytesOf(*config.min_free, total) : BytesOf(Percent(20), total);
  using std::chrono::hours;
  store::PruneRule cheap;
  cheap.filters = {"type==source.local", "type==exec.cachemount", "type==source.git.checkout"};
  cheap.keep_duration = hours(48);
  cheap.max_used_bytes = 512'000'000;
  rules.push_back(std::move(cheap));
  store::PruneRule rest;
  rest.reserved_bytes = reserved;
  rest.max_used_bytes = max_used;
  rest.min_free_bytes = min_free;
  rest.keep_duration = hours(24 * 60);
  rules.push_back(rest);
  rest.keep_duration = {};
  rules.push_back(rest);
  rest.all = true;
  rules.push_back(rest);
  return rules;
}

}  // namespace kiln::control
