#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

// The library asserts what input can break ("[=") before it reports the very same as an error.
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

#include "base/fd.h"
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

Setter Table(Keys keys) {
  return [keys = std::move(keys)](const toml::node& node, const std::string& path) -> Status {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Wrong(path, "a table");
    return ApplyTable(*table, path + ".", keys);
  };
}

// A key of buildkitd.toml that exists and is not served: fine only if it asks for what is done
// anyway.
Setter Refuse() {
  return [](const toml::node&, const std::string& path) -> Status {
    return Unimplemented("configuration key {} is not supported", path);
  };
}
Setter OnlyFalse() {
  return [](const toml::node& node, const std::string& path) -> Status {
    if (node.is_boolean() && !*node.value<bool>()) return OkStatus();
    return Unimplemented("configuration key {} is not supported", path);
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
    config->platforms.clear();
    for (const std::string& text : texts) {
      TRY_ASSIGN_CTX(oci::Platform platform, oci::ParsePlatform(text), "{}", path);
      config->platforms.push_back(oci::Normalize(std::move(platform)));
    }
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
          {"snapshotter", OneOf(&config->snapshotter, {"overlayfs", "native"}, "overlayfs")},
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
          {"proxySnapshotterPath", Refuse()},
          {"stargzSnapshotter", Refuse()},
          {"cniConfigPath", Refuse()},
          {"cniBinaryPath", Refuse()},
          {"cniPoolSize", Refuse()},
          {"bridgeName", Refuse()},
          {"bridgeSubnet", Refuse()}};
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
  const Setter containerd = Table({{"enabled", OnlyFalse()}});
  const Keys tls = {{"cert", Text(&config->tls.cert)},
                    {"key", Text(&config->tls.key)},
                    {"ca", Text(&config->tls.ca)}};
  const Keys grpc = {{"address", Texts(&config->addresses)},
                     {"debugAddress", Refuse()},
                     {"uid", Number(&config->socket_owner.uid, 0)},
                     {"gid", Number(&config->socket_owner.gid, 0)},
                     {"tls", Table(tls)}};
  const Keys dns = {{"nameservers", Texts(&config->dns.nameservers)},
                    {"options", Texts(&config->dns.options)},
                    {"searchDomains", Texts(&config->dns.search_domains)}};
  const Keys frontend = {
      {"dockerfile.v0", Table({{"enabled", Flag(&config->dockerfile_frontend)}})},
      {"gateway.v0", Table({{"enabled", OnlyFalse()}, {"allowedRepositories", Refuse()}})}};
  return {
      {"root", Text(&config->root)},
      {"debug", debug},
      {"trace", debug},
      {"log", Table({{"level", level}, {"format", Refuse()}})},
      {"insecure-entitlements", entitlements},
      {"proxyNetwork", OnlyFalse()},
      {"provenanceEnvDir", Refuse()},
      {"grpc", Table(grpc)},
      {"otel", Table({{"socketPath", Refuse()}})},
      {"cdi", Table({{"disabled", Flag(&config->cdi_disabled)},
                     {"specDirs", Texts(&config->cdi_spec_dirs)},
                     {"autoAllowed", Texts(&config->cdi_auto_allowed)}})},
      {"dns", Table(dns)},
      {"history", Table({{"maxAge", Duration(&config->history_max_age)},
                         {"maxEntries", Number(&config->history_max_entries, 0)}})},
      {"drainTimeout", Duration(&config->drain_timeout)},
      {"frontend", Table(frontend)},
      {"system", Table({{"platformsCacheMaxAge", Refuse()},
                        {"maxRegistryConcurrency", Number(&config->max_registry_concurrency, 1)}})},
      {"cache", Refuse()},
      {"registry", Host(config)},
      {"worker", Table({{"oci", Table(WorkerKeys(config))}, {"containerd", containerd}})}};
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
