#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

// The library asserts what input can break ("[=") before it reports the very same as an error.
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strings.h"
#include "control/config.h"

namespace kiln::control {
namespace {

// What nanoseconds in 64 bits can hold.
constexpr int64_t kMostSeconds = INT64_MAX / 1'000'000'000;

// Applies one key's value. `path` is the key as written, for errors.
using Setter = std::function<Status(const toml::node& node, const std::string& path)>;
using Keys = std::map<std::string, Setter>;

Error Wrong(const std::string& path, std::string_view wanted) {
  return InvalidArgument("{} must be {}", path, wanted);
}

Status ApplyTable(const toml::table& table, const std::string& prefix, const Keys& keys) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    const std::string path = prefix + name;
    auto found = keys.find(name);
    if (found == keys.end()) {
      found = std::find_if(keys.begin(), keys.end(),
                           [&](const auto& one) { return EqualsIgnoreCase(one.first, name); });
    }
    if (found == keys.end()) {
      std::vector<std::string> names;
      for (const auto& [known, setter] : keys) names.push_back(known);
      const std::string nearest = NearestName(name, names);
      return InvalidArgument(
          "unknown configuration key {}{}", path,
          nearest.empty() ? "" : fmt::format(", did you mean {}{}?", prefix, nearest));
    }
    TRY(found->second(node, path));
  }
  return OkStatus();
}

Setter Text(std::string* to) {
  return [to](const toml::node& node, const std::string& path) -> Status {
    const auto value = node.value<std::string>();
    if (!value) return Wrong(path, "a string");
    *to = *value;
    return OkStatus();
  };
}

Setter Flag(bool* to) {
  return [to](const toml::node& node, const std::string& path) -> Status {
    if (!node.is_boolean()) return Wrong(path, "true or false");
    *to = *node.value<bool>();
    return OkStatus();
  };
}

Setter Number(int* to, int64_t least) {
  return [to, least](const toml::node& node, const std::string& path) -> Status {
    if (!node.is_integer()) return Wrong(path, "a number");
    const int64_t value = *node.value<int64_t>();
    if (value < least || value > INT32_MAX) return InvalidArgument("{} is out of range", path);
    *to = static_cast<int>(value);
    return OkStatus();
  };
}

Result<std::vector<std::string>> TextsOf(const toml::node& node, const std::string& path) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return Wrong(path, "a list of strings");
  std::vector<std::string> texts;
  for (const toml::node& one : *array) {
    const auto value = one.value<std::string>();
    if (!value) return Wrong(path, "a list of strings");
    texts.push_back(*value);
  }
  return texts;
}

Setter Texts(std::vector<std::string>* to) {
  return [to](const toml::node& node, const std::string& path) -> Status {
    TRY_ASSIGN(*to, TextsOf(node, path));
    return OkStatus();
  };
}

Setter Size(std::function<void(DiskSize)> to) {
  return [to = std::move(to)](const toml::node& node, const std::string& path) -> Status {
    if (node.is_integer() && *node.value<int64_t>() >= 0) {
      to(DiskSize{.bytes = static_cast<uint64_t>(*node.value<int64_t>())});
      return OkStatus();
    }
    const auto text = node.value<std::string>();
    if (!text) return Wrong(path, "a size");
    TRY_ASSIGN_CTX(const DiskSize size, ParseDiskSize(*text), "{}", path);
    to(size);
    return OkStatus();
  };
}

// Below zero counts as zero.
Setter AnyDuration(std::chrono::nanoseconds* to) {
  return [to](const toml::node& node, const std::string& path) -> Status {
    const auto seconds = node.value<int64_t>();
    const auto text = node.value<std::string>();
    if (!text && !(node.is_integer() && *seconds <= kMostSeconds)) return Wrong(path, "a duration");
    if (text) {
      TRY_ASSIGN_CTX(*to, ParseDuration(*text), "{}", path);
    } else {
      *to = std::chrono::seconds(std::max<int64_t>(*seconds, 0));
    }
    *to = std::max(*to, std::chrono::nanoseconds(0));
    return OkStatus();
  };
}

Setter Duration(std::chrono::nanoseconds* to) {
  return [to](const toml::node& node, const std::string& path) -> Status {
    if (node.is_integer()) {
      const int64_t seconds = *node.value<int64_t>();
      if (seconds < 0 || seconds > kMostSeconds) return InvalidArgument("{} is out of range", path);
      *to = std::chrono::seconds(seconds);
      return OkStatus();
    }
    const auto text = node.value<std::string>();
    if (!text) return Wrong(path, "a duration");
    TRY_ASSIGN_CTX(*to, ParseDuration(*text), "{}", path);
    return OkStatus();
  };
}

Setter AtLeastASecond(std::chrono::nanoseconds* to) {
  return [to](const toml::node& node, const std::string& path) -> Status {
    std::chrono::nanoseconds time{};
    TRY(Duration(&time)(node, path));
    if (time < std::chrono::seconds(1)) return InvalidArgument("{} is less than a second", path);
    *to = time;
    return OkStatus();
  };
}

Setter Table(Keys keys) {
  return [keys = std::move(keys)](const toml::node& node, const std::string& path) -> Status {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Wrong(path, "a table");
    return ApplyTable(*table, path + ".", keys);
  };
}

// A key of buildkitd.toml whose feature is not served: fine if it asks for what is done anyway,
// which is its default and nothing at all.
template <typename... Defaults>
Setter Only(const Defaults&... defaults) {
  return [=](const toml::node& node, const std::string& path) -> Status {
    const bool empty = node.is_array() && node.as_array()->empty();
    const bool blank = node.is_string() && node.value<std::string>()->empty();
    if (empty || blank || (... || (node.value<Defaults>() == defaults))) return OkStatus();
    return Unimplemented("configuration key {} is not supported", path);
  };
}
Setter OnlyFalse() { return Only(false); }
// Has nothing to change.
Setter Ignore() {
  return [](const toml::node&, const std::string&) -> Status { return OkStatus(); };
}

// A section in which `enabled = false` makes everything else void.
Setter Switched(bool* enabled, const Setter& keys) {
  return [=](const toml::node& node, const std::string& path) -> Status {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Wrong(path, "a table");
    if ((*table)["enabled"].is_boolean() && !*(*table)["enabled"].value<bool>()) {
      *enabled = false;
      return OkStatus();
    }
    return keys(node, path);
  };
}

// A folder as Docker's certs.d has one for a registry: roots in *.crt, a client's certificate in
// X.cert with its key in X.key. Folders that are not there are passed over.
Status AddCertificates(const std::string& folder, const std::string& path,
                       registry::HostConfig* host) {
  std::error_code error;
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    names.push_back(entry.path().string());
  if (error && error != std::errc::no_such_file_or_directory) {
    return FailedPrecondition("{} {}: {}", path, Quoted(folder), error.message());
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (name.ends_with(".crt")) host->ca_files.push_back(name);
    if (!name.ends_with(".cert")) continue;
    if (host->key_pair) return Unimplemented("{}: more than one client certificate", path);
    host->key_pair = http::KeyPair{.certificate_file = name,
                                   .key_file = name.substr(0, name.size() - 5) + ".key"};
  }
  return OkStatus();
}

Setter Host(Config* config) {
  return [config](const toml::node& node, const std::string& path) -> Status {
    const toml::table* hosts = node.as_table();
    if (hosts == nullptr) return Wrong(path, "a table");
    for (const auto& [name, table] : *hosts) {
      registry::HostConfig& host = config->registries[std::string(name.str())];
      const auto optional_flag = [](std::optional<bool>* to) -> Setter {
        return [to](const toml::node& value, const std::string& key) -> Status {
          if (!value.is_boolean()) return Wrong(key, "true or false");
          *to = value.value<bool>();
          return OkStatus();
        };
      };
      const Setter key_pairs = [&host](const toml::node& value, const std::string& key) -> Status {
        const toml::array* array = value.as_array();
        if (array == nullptr || array->size() != 1) return Wrong(key, "a list of one table");
        http::KeyPair pair;
        TRY(Table({{"key", Text(&pair.key_file)}, {"cert", Text(&pair.certificate_file)}})(
            *array->get(0), key));
        host.key_pair = pair;
        return OkStatus();
      };
      const Setter folders = [&host](const toml::node& value, const std::string& key) -> Status {
        std::vector<std::string> names;
        TRY(Texts(&names)(value, key));
        for (const std::string& name : names) TRY(AddCertificates(name, key, &host));
        return OkStatus();
      };
      const Keys keys = {{"mirrors", Texts(&host.mirrors)},
                         {"http", optional_flag(&host.plain_http)},
                         {"insecure", optional_flag(&host.insecure)},
                         {"ca", Texts(&host.ca_files)},
                         {"keypair", key_pairs},
                         {"tlsconfigdir", folders}};
      TRY(Table(keys)(table, path + ".\"" + std::string(name.str()) + "\""));
    }
    return OkStatus();
  };
}

Setter GcPolicy(Config* config) {
  return [config](const toml::node& node, const std::string& path) -> Status {
    const toml::array* array = node.as_array();
    if (array == nullptr) return Wrong(path, "a list of tables");
    for (const toml::node& one : *array) {
      GcRule rule;
      const Keys keys = {{"all", Flag(&rule.all)},
                         {"filters", Texts(&rule.filters)},
                         {"keepDuration", Duration(&rule.keep_duration)},
                         {"keepBytes", Size([&](DiskSize size) { rule.reserved = size; })},
                         {"reservedSpace", Size([&](DiskSize size) { rule.reserved = size; })},
                         {"maxUsedSpace", Size([&](DiskSize size) { rule.max_used = size; })},
                         {"minFreeSpace", Size([&](DiskSize size) { rule.min_free = size; })}};
      TRY(Table(keys)(one, path));
      config->gc_policy.push_back(std::move(rule));
    }
    return OkStatus();
  };
}

Setter Labels(Config* config) {
  return [config](const toml::node& node, const std::string& path) -> Status {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Wrong(path, "a table");
    for (const auto& [key, value] : *table) {
      const auto text = value.value<std::string>();
      if (!text) return Wrong(path + "." + std::string(key.str()), "a string");
      config->labels[std::string(key.str())] = *text;
    }
    return OkStatus();
  };
}

Setter Platforms(Config* config) {
  return [config](const toml::node& node, const std::string& path) -> Status {
    TRY_ASSIGN(const std::vector<std::string> texts, TextsOf(node, path));
    TRY_ASSIGN_CTX(config->platforms, ParsePlatforms(texts), "{}", path);
    return OkStatus();
  };
}

Setter OneOf(std::string* to, std::vector<std::string> allowed, std::string meaning_auto) {
  return [to, allowed = std::move(allowed), meaning_auto = std::move(meaning_auto)](
             const toml::node& node, const std::string& path) -> Status {
    const auto value = node.value<std::string>();
    if (!value) return Wrong(path, "a string");
    if (value->empty() || *value == "auto") {
      *to = meaning_auto;
      return OkStatus();
    }
    if (std::find(allowed.begin(), allowed.end(), *value) == allowed.end()) {
      return Unimplemented("{} = {} is not supported (one of: {})", path, Quoted(*value),
                           Join(allowed, ", "));
    }
    *to = *value;
    return OkStatus();
  };
}

Keys WorkerKeys(Config* config) {
  const Setter enabled = [](const toml::node& node, const std::string& path) -> Status {
    if (node.is_boolean() && *node.value<bool>()) return OkStatus();
    return InvalidArgument("{} must not be false: there is no other worker", path);
  };
  return {{"enabled", enabled},
          {"labels", Labels(config)},
          {"platforms", Platforms(config)},
          {"snapshotter", OneOf(&config->snapshotter, {"overlayfs", "native"}, "auto")},
          {"rootless", OnlyFalse()},
          {"noProcessSandbox", OnlyFalse()},
          {"gc", Flag(&config->gc)},
          {"reservedSpace", Size([config](DiskSize size) { config->reserved = size; })},
          {"gckeepstorage", Size([config](DiskSize size) { config->reserved = size; })},
          {"maxUsedSpace", Size([config](DiskSize size) { config->max_used = size; })},
          {"minFreeSpace", Size([config](DiskSize size) { config->min_free = size; })},
          {"gcpolicy", GcPolicy(config)},
          {"networkMode", OneOf(&config->network_mode, {"host", "none"}, "host")},
          {"binary", Text(&config->runtime_binary)},
          {"defaultCgroupParent", Text(&config->cgroup_parent)},
          {"apparmor-profile", Text(&config->apparmor_profile)},
          {"selinux", OnlyFalse()},
          {"max-parallelism", Number(&config->max_parallelism, 0)},
          {"proxySnapshotterPath", Only()},
          {"stargzSnapshotter", Ignore()},  // of a snapshotter that is refused by name
          {"userRemapUnsupported", Only()},
          {"cniConfigPath", Only(std::string("/etc/buildkit/cni.json"))},
          {"cniBinaryPath", Only(std::string("/opt/cni/bin"))},
          {"cniPoolSize", Only(int64_t{0})},
          {"bridgeName", Only(std::string("buildkit0"))},
          {"bridgeSubnet", Only(std::string("10.10.0.0/16"))}};
}

// Where steps have the host's network, or none, nothing is set up by CNI whatever its keys say.
Setter OciWorker(Config* config) {
  return [config](const toml::node& node, const std::string& path) -> Status {
    Keys keys = WorkerKeys(config);
    if (const toml::table* table = node.as_table()) {
      const auto mode = (*table)["networkMode"].value<std::string>();
      if (mode == "host" || mode == "none") {
        for (const char* name :
             {"cniConfigPath", "cniBinaryPath", "cniPoolSize", "bridgeName", "bridgeSubnet"})
          keys[name] = Ignore();
      }
    }
    return Table(keys)(node, path);
  };
}

// Other programs' databases, which need it, are not here: what is asked for is looked at all the
// same.
Setter Compaction() {
  return [](const toml::node& node, const std::string& path) -> Status {
    bool enabled = false;
    std::map<std::string, int64_t> numbers = {
        {"writesPerCheck", 10'000},    {"sizeWatermark", 134'217'728},
        {"sizeGrowthPercent", 100},    {"minReclaimBytes", 268'435'456},
        {"minReclaimPercent", 30},     {"maxRetry", 3},
        {"minReclaimPercentFloor", -1}};
    std::chrono::nanoseconds idle = std::chrono::minutes(1);
    Keys keys = {{"enabled", Flag(&enabled)}, {"idleTimeout", Duration(&idle)}};
    for (auto& [name, value] : numbers) {
      keys[name] = [to = &value](const toml::node& one, const std::string& key) -> Status {
        if (!one.is_integer()) return Wrong(key, "a number");
        *to = *one.value<int64_t>();
        return OkStatus();
      };
    }
    TRY(Table(keys)(node, path));
    const int64_t percent = numbers["minReclaimPercent"];
    int64_t& floor = numbers["minReclaimPercentFloor"];
    if (floor == -1) floor = std::min<int64_t>(10, percent);
    bool valid = idle.count() > 0 && floor <= percent && percent <= 100 &&
                 numbers["sizeGrowthPercent"] <= 100;
    for (const auto& [name, value] : numbers)
      valid = valid && value >= (name == "maxRetry" ? 0 : 1);
    if (!valid)
      return InvalidArgument("invalid {} configuration: invalid database compaction policy", path);
    if (enabled) LOG_INFO("{}: there is no database here that needs it", path);
    return OkStatus();
  };
}

// The section without a key says 0 for it.
Setter History(Config* config) {
  return [config](const toml::node& node, const std::string& path) -> Status {
    config->history_max_age = std::chrono::nanoseconds(0);
    config->history_max_entries = 0;
    TRY(Table({{"maxAge", Duration(&config->history_max_age)},
               {"maxEntries", Number(&config->history_max_entries, 0)}})(node, path));
    const toml::table& table = *node.as_table();
    const bool none = std::any_of(table.begin(), table.end(), [](const auto& one) {
      return EqualsIgnoreCase(one.first.str(), "maxEntries") &&
             one.second.template value<int64_t>() == 0;
    });
    config->record_history = !none;
    return OkStatus();
  };
}

// Signatures of GitHub's cache; that cache is not served.
Setter Cache() {
  const Setter policy = [](const toml::node& node, const std::string& path) -> Status {
    if (node.is_table() && node.as_table()->empty()) return OkStatus();
    return Unimplemented("configuration key {} is not supported", path);
  };
  const Keys verify = {{"required", OnlyFalse()}, {"policy", policy}};
  const Keys gha = {{"sign", Table({{"command", Only()}})}, {"verify", Table(verify)}};
  return Table({{"gha", Table(gha)}});
}

Keys TopKeys(Config* config) {
  const Setter debug = [config](const toml::node& node, const std::string& path) -> Status {
    if (!node.is_boolean()) return Wrong(path, "true or false");
    if (*node.value<bool>() && !config->log_level) config->log_level = LogLevel::kDebug;
    return OkStatus();
  };
  const Setter level = [config](const toml::node& node, const std::string& path) -> Status {
    const auto text = node.value<std::string>();
    if (!text) return Wrong(path, "a string");
    TRY_ASSIGN_CTX(config->log_level, ParseLogLevel(*text), "{}", path);
    return OkStatus();
  };
  const Setter entitlements = [config](const toml::node& node, const std::string& path) -> Status {
    TRY_ASSIGN(const std::vector<std::string> names, TextsOf(node, path));
    config->entitlements.clear();
    for (const std::string& name : names) TRY(AddEntitlement(name, config));
    return OkStatus();
  };
  const Setter format = [config](const toml::node& node, const std::string& path) -> Status {
    const auto text = node.value<std::string>();
    if (!text) return Wrong(path, "a string");
    if (text->empty()) return OkStatus();
    TRY_ASSIGN_CTX(config->log_format, ParseLogFormat(*text), "{}", path);
    return OkStatus();
  };
  // Said to be used if it is there, it is not used: only what insists on it is refused.
  const Setter containerd = [](const toml::node& node, const std::string& path) -> Status {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Wrong(path, "a table");
    if ((*table)["enabled"].value<bool>() != true) return OkStatus();
    return Unimplemented("{}.enabled: there is no worker but worker.oci", path);
  };
  const Keys tls = {{"cert", Text(&config->tls.cert)},
                    {"key", Text(&config->tls.key)},
                    {"ca", Text(&config->tls.ca)}};
  const Keys grpc = {{"address", Texts(&config->addresses)},
                     {"debugAddress", Only()},
                     {"uid", Number(&config->socket_owner.uid, 0)},
                     {"gid", Number(&config->socket_owner.gid, 0)},
                     {"tls", Table(tls)}};
  const Keys dns = {{"nameservers", Texts(&config->dns.nameservers)},
                    {"options", Texts(&config->dns.options)},
                    {"searchDomains", Texts(&config->dns.search_domains)}};
  const Keys frontend = {
      {"dockerfile.v0", Table({{"enabled", Flag(&config->dockerfile_frontend)}})},
      {"gateway.v0",
       Switched(&config->gateway_frontend,
                Table({{"enabled", Flag(&config->gateway_frontend)},
                       {"allowedRepositories", Texts(&config->gateway_repositories)}}))}};
  return {
      {"root", Text(&config->root)},
      {"debug", debug},
      {"trace", debug},
      {"log", Table({{"level", level}, {"format", format}})},
      {"insecure-entitlements", entitlements},
      {"proxyNetwork", OnlyFalse()},
      {"provenanceEnvDir", Only(std::string("/etc/buildkit/provenance.d"))},
      {"grpc", Table(grpc)},
      {"otel", Table({{"socketPath", Only(std::string("/run/buildkit/otel-grpc.sock"))}})},
      {"cdi", Table({{"disabled", Flag(&config->cdi_disabled)},
                     {"specDirs", Texts(&config->cdi_spec_dirs)},
                     {"autoAllowed", Texts(&config->cdi_auto_allowed)}})},
      {"dns", Table(dns)},
      {"history", History(config)},
      {"compaction", Compaction()},
      {"drainTimeout", Duration(&config->drain_timeout)},
      {"silenceTimeout", AtLeastASecond(&config->silence_timeout)},
      {"frontend", Table(frontend)},
      {"system", Table({{"platformsCacheMaxAge", Ignore()},  // they are looked for at the start
                        {"maxRegistryConcurrency", Number(&config->max_registry_concurrency, 1)},
                        {"sessionAuthTimeout", AnyDuration(&config->session_auth_timeout)}})},
      {"cache", Cache()},
      {"registry", Host(config)},
      {"worker", Table({{"oci", OciWorker(config)}, {"containerd", containerd}})}};
}

// TOML has characters beyond ASCII in strings and comments alone. Elsewhere the library's own
// tables of them have gaps that it takes for unreachable, so they do not get there.
Status CheckCharacters(std::string_view text) {
  char quote = 0;  // of the string this is in; '#' for a comment
  bool multi_line = false;
  size_t line = 1;
  for (size_t i = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool triple = (c == '"' || c == '\'') && text.substr(i, 3) == std::string(3, c);
    if (c == '\n') ++line;
    if (quote == 0) {
      const auto byte = static_cast<unsigned char>(c);
      const bool blank = c == '\t' || c == '\n' || c == '\r';
      if (byte >= 0x7f || (byte < 0x20 && !blank))
        return InvalidArgument("line {}: unexpected character {:#04x}", line, byte);
      if (c == '"' || c == '\'' || c == '#') quote = c;
      multi_line = triple;
      if (triple) i += 2;
    } else if (c == '\n') {
      if (!multi_line) quote = 0;
    } else if (c == '\\' && quote == '"') {
      ++i;
    } else if (c == quote && quote != '#' && (!multi_line || triple)) {
      if (multi_line) i += 2;
      quote = 0;
    }
  }
  return OkStatus();
}

}  // namespace

Status ApplyToml(std::string_view text, Config* config) {
  TRY(CheckCharacters(text));
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::source_position at = parsed.error().source().begin;
    return InvalidArgument("line {}, column {}: {}", at.line, at.column,
                           parsed.error().description());
  }
  return ApplyTable(parsed.table(), "", TopKeys(config));
}

Status ApplyTomlFile(const std::string& path, bool optional, Config* config) {
  Result<std::string> text = ReadFile(path, 4 << 20);
  if (!text.ok() && optional && text.error().code() == Code::kNotFound) return OkStatus();
  if (!text.ok()) return std::move(text).error();
  TRY_CTX(ApplyToml(*text, config), "{}", path);
  return OkStatus();
}

}  // namespace kiln::control
