#include "dockerfile/options.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <type_traits>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/csv.h"
#include "base/strings.h"
#include "dockerfile/external.h"
#include "dockerfile/lint_config.h"
#include "dockerfile/suggest.h"
#include "oci/reference.h"

namespace kiln::dockerfile {
namespace {

constexpr std::string_view kFrontendCapType = "github.com/moby/buildkit/errdefs.FrontendCap+json";
constexpr std::array<std::string_view, 5> kCaps = {
    "moby.buildkit.frontend.inputs", "moby.buildkit.frontend.subrequests",
    "moby.buildkit.frontend.contexts", "moby.buildkit.frontend.contexts.zstd",
    "moby.buildkit.frontend.gitquerystring"};

constexpr std::array<std::string_view, 15> kUlimits = {
    "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
    "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};

constexpr std::uint64_t kMaxCpu = 8192;

// The words of stock clients' library for a text that is no number.
std::string NotANumber(std::string_view text, bool is_unsigned = false) {
  return fmt::format("strconv.Parse{}: parsing {}: invalid syntax", is_unsigned ? "Uint" : "Int",
                     Quoted(text));
}

bool IsIpAddress(const std::string& text) {
  in6_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

using Setter = Status (*)(Options&, const std::string&);

Status SetPlatforms(Options& options, const std::string& value) {
  for (const auto& text : Split(value, ',')) {
    TRY_ASSIGN_CTX(oci::Platform platform, oci::ParsePlatform(Trim(text)),
                   "failed to parse target platform {}", text);
    options.platforms.push_back(oci::Normalize(std::move(platform)));
  }
  return OkStatus();
}

Status SetMultiPlatform(Options& options, const std::string& value) {
  options.multi_platform = ParseBool(value);
  if (!options.multi_platform) {
    return InvalidArgument("invalid boolean value for multi-platform: {}", value);
  }
  return OkStatus();
}

Status SetNoCache(Options& options, const std::string& value) {
  options.no_cache = value.empty();
  if (value.empty()) return OkStatus();
  for (const auto& name : Split(value, ',')) options.no_cache_stages.push_back(ToLower(name));
  return OkStatus();
}

Status SetResolveMode(Options& options, const std::string& value) {
  if (value.empty() || value == "default")
    options.resolve_mode = llb::ResolveMode::kDefault;
  else if (value == "pull")
    options.resolve_mode = llb::ResolveMode::kPull;
  else if (value == "local")
    options.resolve_mode = llb::ResolveMode::kLocal;
  else
    return InvalidArgument("invalid image-resolve-mode: {}", value);
  return OkStatus();
}

Status SetNetwork(Options& options, const std::string& value) {
  if (value.empty() || value == "sandbox")
    options.network = llb::NetworkMode::kSandbox;
  else if (value == "none")
    options.network = llb::NetworkMode::kNone;
  else if (value == "host")
    options.network = llb::NetworkMode::kHost;
  else
    return InvalidArgument("invalid netmode {}", value);
  return OkStatus();
}

Status SetHosts(Options& options, const std::string& value) {
  TRY_ASSIGN_CTX(const auto fields, ParseCsv(ToLower(value)), "failed to parse additional hosts");
  for (const auto& field : fields) {
    const auto cut = Cut(field, "=");
    if (!cut) {
      return InvalidArgument("failed to parse additional hosts: invalid key-value pair {}", field);
    }
    if (!IsIpAddress(std::string(cut->second))) {
      return InvalidArgument("failed to parse additional hosts: failed to parse IP {}",
                             cut->second);
    }
    options.extra_hosts.push_back({std::string(cut->first), std::string(cut->second)});
  }
  return OkStatus();
}

Error BadResource(std::string_view key, const std::string& value, std::string_view why) {
  return InvalidArgument("failed to parse resource limits: invalid {} value: {}: {}", key, value,
                         why);
}

Result<std::int64_t> Positive(std::string_view key, const std::string& value, bool is_unsigned) {
  const auto number = ParseInt(value);
  if (!number || (is_unsigned && *number < 0)) {
    return BadResource(key, value, NotANumber(value, is_unsigned));
  }
  if (*number <= 0) return BadResource(key, value, "must be > 0");
  return *number;
}

Status SetShmSize(Options& options, const std::string& value) {
  const auto size = ParseInt(value);
  if (!size || *size < 0) {
    return InvalidArgument("failed to parse shm size: {}", NotANumber(value));
  }
  options.shm_size_bytes = *size;
  return OkStatus();
}

Status SetUlimits(Options& options, const std::string& value) {
  TRY_ASSIGN_CTX(const auto fields, ParseCsv(value), "failed to parse ulimits");
  for (const auto& field : fields) {
    const auto cut = Cut(field, "=");
    if (!cut) return InvalidArgument("failed to parse ulimit: invalid ulimit argument: {}", field);
    llb::Ulimit limit;
    limit.name = cut->first;
    if (std::find(kUlimits.begin(), kUlimits.end(), cut->first) == kUlimits.end()) {
      return InvalidArgument("failed to parse ulimit: invalid ulimit type: {}", cut->first);
    }
    const auto values = Split(cut->second, ':');
    const auto soft = ParseInt(values[0]);
    const auto hard = values.size() > 1 ? ParseInt(values[1]) : soft;
    if (!soft || !hard) {
      return InvalidArgument("failed to parse ulimit: {}", NotANumber(values[soft ? 1 : 0]));
    }
    if (values.size() > 2 || *soft < -1 || *hard < -1) {
      return InvalidArgument("failed to parse ulimit: invalid ulimit argument: {}", field);
    }
    if (*hard != -1 && (*soft == -1 || *soft > *hard)) {
      return InvalidArgument(
          "failed to parse ulimit: ulimit soft limit must be less than or equal to hard limit: {} "
          "> "
          "{}",
          *soft, *hard);
    }
    limit.soft = *soft;
    limit.hard = *hard;
    options.ulimits.push_back(std::move(limit));
  }
  return OkStatus();
}

Status SetCacheImports(Options& options, const std::string& value) {
  const auto json = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) {
    return InvalidArgument("failed to unmarshal cache-imports ({}): {}", Quoted(value),
                           GoJsonError(value));
  }
  for (const auto& entry : json) {
    CacheImport import;
    if (!entry.is_object() || !entry.contains("Type") || !entry["Type"].is_string()) {
      return InvalidArgument("failed to parse cache-imports: {}", Quoted(value));
    }
    import.type = entry["Type"].get<std::string>();
    if (entry.contains("Attrs") && entry["Attrs"].is_object()) {
      for (const auto& [key, attr] : entry["Attrs"].items()) {
        if (!attr.is_string()) return InvalidArgument("cache-imports: {} is no string", key);
        import.attrs[key] = attr.get<std::string>();
      }
    }
    options.cache_imports.push_back(std::move(import));
  }
  return OkStatus();
}

Status SetCacheFrom(Options& options, const std::string& value) {
  if (value.empty()) return OkStatus();
  for (const auto& ref : Split(value, ',')) {
    options.cache_imports.push_back({"registry", {{"ref", std::string(ref)}}});
  }
  return OkStatus();
}

template <std::string Options::* member>
Status SetString(Options& options, const std::string& value) {
  options.*member = value;
  return OkStatus();
}

llb::LinuxResources& Resources(Options& options) {
  if (!options.linux_resources) options.linux_resources.emplace();
  return *options.linux_resources;
}

template <typename T, T llb::LinuxResources::* member>
Status SetResource(Options& options, const std::string& key, const std::string& value) {
  if (value.empty()) return OkStatus();
  TRY_ASSIGN(const std::int64_t number, Positive(key, value, std::is_unsigned_v<T>));
  Resources(options).*member = static_cast<T>(number);
  return OkStatus();
}

Status SetMemorySwap(Options& options, const std::string& value) {
  if (value.empty()) return OkStatus();
  const auto number = ParseInt(value);
  if (!number) return BadResource("memswap", value, NotANumber(value));
  if (*number < -1 || *number == 0) {
    return BadResource("memswap", value, "must be -1 (unlimited) or > 0");
  }
  Resources(options).memory_swap_bytes = *number;
  return OkStatus();
}

template <std::string llb::LinuxResources::* member>
Status SetCpuset(Options& options, const std::string& key, const std::string& value) {
  if (value.empty()) return OkStatus();
  for (const std::string_view element : Split(value, ',')) {
    const auto cut = Cut(element, "-");
    const auto first = ParseUint(cut ? cut->first : element);
    const auto last = cut ? ParseUint(cut->second) : first;
    if (!first || !last || *first > *last) {
      return BadResource(
          key, value,
          fmt::format("invalid cpuset {} {}", cut ? "range" : "element", Quoted(element)));
    }
    if (*last > kMaxCpu) {
      return BadResource(key, value,
                         fmt::format("cpuset {} {} exceeds maximum {}", cut ? "range" : "element",
                                     Quoted(element), kMaxCpu));
    }
  }
  Resources(options).*member = value;
  return OkStatus();
}

Status SetFilename(Options& options, const std::string& value) {
  if (!value.empty()) options.filename = value;
  return OkStatus();
}

Status SetCmdline(Options& options, const std::string&) {
  options.has_cmdline = true;
  return OkStatus();
}

Status SetFrontendCaps(Options& options, const std::string& value) {
  for (const auto& cap : Split(value, ',')) {
    if (!cap.empty()) options.caps.emplace_back(cap);
  }
  return OkStatus();
}

Status Nothing(Options&, const std::string&) { return OkStatus(); }

// `value`: CSV of name=value, of which "generator" is the scanner's image.
Status RefuseSbom(Options&, const std::string& value) {
  TRY_ASSIGN_CTX(const auto fields, ParseCsv(value), "failed to parse sbom");
  for (const std::string& field : fields) {
    const auto pair = Cut(field, "=");
    if (!pair || pair->first != "generator") continue;
    const auto scanner = oci::Reference::ParseNormalized(pair->second);
    if (!scanner.ok()) {
      return Unknown("failed to parse sbom scanner {}: {}", pair->second,
                     WhyBadReference(scanner.error()));
    }
  }
  return Unimplemented("attest:sbom is not served by this build server");
}

Status RefuseCopyImage(Options&, const std::string&) {
  return InvalidArgument("support for \"override-copy-image\" was removed in BuildKit 0.11");
}

using LR = llb::LinuxResources;
const std::array<std::pair<std::string_view, Setter>, 27> kSetters = {{
    {"filename", SetFilename},
    {"target", SetString<&Options::target>},
    {"platform", SetPlatforms},
    {"multi-platform", SetMultiPlatform},
    {"no-cache", SetNoCache},
    {"image-resolve-mode", SetResolveMode},
    {"force-network-mode", SetNetwork},
    {"add-hosts", SetHosts},
    {"shm-size", SetShmSize},
    {"ulimit", SetUlimits},
    {"cgroup-parent", SetString<&Options::cgroup_parent>},
    {"hostname", SetString<&Options::hostname>},
    {"memswap", SetMemorySwap},
    {"cache-imports", SetCacheImports},
    {"cache-from", SetCacheFrom},
    {"context", SetString<&Options::context>},
    {"contextkey", Nothing},
    {"dockerfilekey", SetString<&Options::dockerfile_local>},
    {"contextsubdir", SetString<&Options::context_subdir>},
    {"requestid", SetString<&Options::request_id>},
    {"frontend.caps", SetFrontendCaps},
    {"cmdline", SetCmdline},
    {"source", Nothing},
    {"attest:sbom", RefuseSbom},
    {"attest:provenance", Nothing},
    {"override-copy-image", RefuseCopyImage},
    {"gateway-devel", Nothing},
}};

// Their messages name the key.
using KeyedSetter = Status (*)(Options&, const std::string& key, const std::string& value);
const std::array<std::pair<std::string_view, KeyedSetter>, 6> kKeyedSetters = {{
    {"memory", SetResource<std::int64_t, &LR::memory_bytes>},
    {"cpushares", SetResource<std::uint64_t, &LR::cpu_shares>},
    {"cpuperiod", SetResource<std::uint64_t, &LR::cpu_period_us>},
    {"cpuquota", SetResource<std::int64_t, &LR::cpu_quota_us>},
    {"cpusetcpus", SetCpuset<&LR::cpuset_cpus>},
    {"cpusetmems", SetCpuset<&LR::cpuset_mems>},
}};

using Table = std::map<std::string, std::string> Options::*;
const std::array<std::pair<std::string_view, Table>, 6> kTables = {{
    {"build-arg:", &Options::build_args},
    {"label:", &Options::labels},
    {"context:", &Options::named_contexts},
    {"input-metadata:", &Options::input_metadata},
    {"local-sessionid:", &Options::local_sessions},
    {"sharedkey:localdir:", &Options::shared_keys},
}};

Status Apply(Options& options, const std::string& key, const std::string& value) {
  for (const auto& [prefix, table] : kTables) {
    if (!key.starts_with(prefix)) continue;
    (options.*table)[key.substr(prefix.size())] = value;
    return OkStatus();
  }
  for (const auto& [name, setter] : kSetters) {
    if (name == key) return setter(options, value);
  }
  for (const auto& [name, setter] : kKeyedSetters) {
    if (name == key) return setter(options, key, value);
  }
  if (key.starts_with("input:") || key.starts_with("vcs:")) return OkStatus();
  if (key.starts_with("attest:")) {
    return InvalidArgument("unknown attestation type {}", Quoted(key.substr(7)));
  }
  std::vector<std::string> names;
  for (const auto& setter : kSetters) names.emplace_back(setter.first);
  return InvalidArgument("unknown option {} of the Dockerfile frontend{}", Quoted(key),
                         DidYouMean(key, names));
}

// Build arguments that mean something to the frontend itself.
Status ApplyBuiltInArgs(Options& options) {
  if (const auto value = options.BuildArg("BUILDKIT_MULTI_PLATFORM")) {
    TRY(SetMultiPlatform(options, *value));
  }
  if (const auto value = options.BuildArg("BUILDKIT_SANDBOX_HOSTNAME"); value && !value->empty()) {
    options.hostname = *value;
  }
  if (const auto value = options.BuildArg("BUILDKIT_CACHE_MOUNT_NS")) {
    options.cache_mount_ns = *value;
  }
  if (const auto value = options.BuildArg("BUILDKIT_CONTEXT_KEEP_GIT_DIR")) {
    options.keep_git_dir = ParseBool(*value).value_or(false);
  }
  if (const auto value = options.BuildArg("BUILDKIT_DOCKERFILE_CHECK")) {
    TRY(LintConfigOf(options, ""));
  }
  if (const auto value = options.BuildArg("BUILDKIT_GIT_ADVICE"); value && !value->empty()) {
    const auto on = ParseBool(*value);
    if (!on) {
      return InvalidArgument(
          "failed to parse build-arg:BUILDKIT_GIT_ADVICE: strconv.ParseBool: parsing {}: invalid "
          "syntax",
          Quoted(*value));
    }
    options.git_advice = *on;
  }
  if (const auto value = options.BuildArg("BUILDKIT_ATTEST_SBOM")) {
    return RefuseSbom(options, *value);
  }
  if (const auto value = options.BuildArg("BUILDKIT_DISABLE_FILEOP");
      value && ParseBool(*value).value_or(false)) {
    return InvalidArgument(
        "support for \"BUILDKIT_DISABLE_FILEOP\" build-arg was removed in BuildKit 0.11");
  }
  return OkStatus();
}

}  // namespace

std::string GoJsonError(std::string_view text) {
  const std::string_view trimmed = Trim(text);
  if (trimmed.empty()) return "unexpected end of JSON input";
  if (std::string_view("[{\"tfn-0123456789").find(trimmed.front()) == std::string_view::npos) {
    return fmt::format("invalid character '{}' looking for beginning of value", trimmed.front());
  }
  return "invalid JSON";
}

std::optional<std::string> Options::BuildArg(std::string_view name) const {
  const auto found = build_args.find(std::string(name));
  if (found == build_args.end()) return std::nullopt;
  return found->second;
}

Result<Options> ParseOptions(const std::map<std::string, std::string>& attrs) {
  Options options;
  const auto context_key = attrs.find("contextkey");
  for (const auto& [key, value] : attrs) {
    if (context_key != attrs.end() && key == context_key->second) {
      options.context = value;
    } else {
      TRY(Apply(options, key, value));
    }
  }
  TRY(ApplyBuiltInArgs(options));
  if (options.multi_platform == false && options.platforms.size() > 1) {
    return InvalidArgument(
        "conflicting config: returning multiple target platforms is not allowed");
  }
  return options;
}

Status CheckCaps(const Options& options, bool forwardable) {
  for (const std::string& text : options.caps) {
    const auto plus = text.find('+');
    const std::string cap = text.substr(0, plus);
    if (std::find(kCaps.begin(), kCaps.end(), cap) != kCaps.end()) continue;
    if (forwardable && plus != std::string::npos && text.substr(plus) == "+forward") continue;
    Error error = Unimplemented("unsupported frontend capability {}", cap);
    error.AddDetail({std::string(kFrontendCapType), nlohmann::json({{"name", cap}}).dump()});
    return error;
  }
  return OkStatus();
}

}  // namespace kiln::dockerfile
