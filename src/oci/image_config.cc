#include "oci/image_config.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "base/error.h"
#include "oci/json.h"
#include "oci/json_codec.h"
#include "oci/json_fields.h"

namespace kiln::oci {
namespace {

constexpr JsonLimits kConfigLimits{.max_bytes = kMaxImageConfigBytes, .max_depth = 64};

constexpr std::array<std::string_view, 13> kRunConfigKeys = {
    "User",   "ExposedPorts", "Env",         "Entrypoint",  "Cmd",     "Volumes", "WorkingDir",
    "Labels", "StopSignal",   "ArgsEscaped", "Healthcheck", "OnBuild", "Shell"};
constexpr std::array<std::string_view, 10> kTopLevelKeys = {
    "created", "author",      "architecture", "os",     "os.version",
    "variant", "os.features", "config",       "rootfs", "history"};

template <typename Keys>
void CollectUnknown(const JsonFields& fields, const Keys& known,
                    std::map<std::string, std::string>& out) {
  for (const auto& item : fields.object().items()) {
    if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
    JsonWriter writer;
    writer.Value(item.value());
    out.emplace(item.key(), writer.Take());
  }
}

Result<HealthCheck> DecodeHealthCheck(const nlohmann::json& value) {
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "image config: Healthcheck"));
  HealthCheck check;
  TRY(fields.Strings("Test", check.test));
  TRY(fields.Int("Interval", check.interval_ns));
  TRY(fields.Int("Timeout", check.timeout_ns));
  TRY(fields.Int("StartPeriod", check.start_period_ns));
  TRY(fields.Int("StartInterval", check.start_interval_ns));
  TRY(fields.Int("Retries", check.retries));
  return check;
}

Status DecodeRunConfig(const nlohmann::json& value, RunConfig& config) {
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "image config: config"));
  TRY(fields.String("User", config.user));
  TRY(fields.Keys("ExposedPorts", config.exposed_ports));
  TRY(fields.Strings("Env", config.env));
  TRY(fields.Strings("Entrypoint", config.entrypoint));
  TRY(fields.Strings("Cmd", config.cmd));
  TRY(fields.Keys("Volumes", config.volumes));
  TRY(fields.String("WorkingDir", config.working_dir));
  TRY(fields.StringMap("Labels", config.labels));
  TRY(fields.String("StopSignal", config.stop_signal));
  TRY(fields.Bool("ArgsEscaped", config.args_escaped));
  if (const auto* check = fields.Find("Healthcheck")) {
    TRY_ASSIGN(config.health_check, DecodeHealthCheck(*check));
  }
  TRY(fields.Strings("OnBuild", config.on_build));
  TRY(fields.Strings("Shell", config.shell));
  CollectUnknown(fields, kRunConfigKeys, config.unknown);
  return OkStatus();
}

Result<History> DecodeHistory(const nlohmann::json& value) {
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "image config: history"));
  History history;
  TRY(fields.String("created", history.created));
  TRY(fields.String("created_by", history.created_by));
  TRY(fields.String("author", history.author));
  TRY(fields.String("comment", history.comment));
  TRY(fields.Bool("empty_layer", history.empty_layer));
  return history;
}

Status DecodeRootFs(const nlohmann::json& value, RootFs& rootfs) {
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "image config: rootfs"));
  rootfs.type.clear();
  TRY(fields.String("type", rootfs.type));
  TRY(fields.Digests("diff_ids", rootfs.diff_ids));
  return OkStatus();
}

void EncodeKeys(std::string_view key, const std::set<std::string>& keys, JsonWriter& writer) {
  writer.Key(key).BeginObject();
  for (const std::string& name : keys) writer.Key(name).BeginObject().EndObject();
  writer.EndObject();
}

void EncodeHealthCheck(const HealthCheck& check, JsonWriter& writer) {
  writer.BeginObject();
  if (!check.test.empty()) EncodeStrings("Test", check.test, writer);
  const std::array<std::pair<const char*, int64_t>, 5> numbers = {
      {{"Interval", check.interval_ns},
       {"Timeout", check.timeout_ns},
       {"StartPeriod", check.start_period_ns},
       {"StartInterval", check.start_interval_ns},
       {"Retries", check.retries}}};
  for (const auto& [key, number] : numbers) {
    if (number != 0) writer.Key(key).Int(number);
  }
  writer.EndObject();
}

void EncodeText(const char* key, const std::string& value, JsonWriter& writer) {
  if (!value.empty()) writer.Key(key).String(value);
}

void EncodeList(const char* key, const std::vector<std::string>& values, JsonWriter& writer) {
  if (!values.empty()) EncodeStrings(key, values, writer);
}

void EncodeRunConfig(const RunConfig& config, JsonWriter& writer) {
  writer.BeginObject();
  EncodeText("User", config.user, writer);
  if (!config.exposed_ports.empty()) EncodeKeys("ExposedPorts", config.exposed_ports, writer);
  EncodeList("Env", config.env, writer);
  EncodeList("Entrypoint", config.entrypoint, writer);
  EncodeList("Cmd", config.cmd, writer);
  if (!config.volumes.empty()) EncodeKeys("Volumes", config.volumes, writer);
  EncodeText("WorkingDir", config.working_dir, writer);
  if (!config.labels.empty()) EncodeStringMap("Labels", config.labels, writer);
  EncodeText("StopSignal", config.stop_signal, writer);
  if (config.args_escaped) writer.Key("ArgsEscaped").Bool(true);
  if (config.health_check) {
    writer.Key("Healthcheck");
    EncodeHealthCheck(*config.health_check, writer);
  }
  EncodeList("OnBuild", config.on_build, writer);
  EncodeList("Shell", config.shell, writer);
  for (const auto& [key, json] : config.unknown) writer.Key(key).Raw(json);
  writer.EndObject();
}

void EncodeHistory(const std::vector<History>& entries, JsonWriter& writer) {
  writer.BeginArray();
  for (const History& entry : entries) {
    writer.BeginObject();
    EncodeText("created", entry.created, writer);
    EncodeText("created_by", entry.created_by, writer);
    EncodeText("author", entry.author, writer);
    EncodeText("comment", entry.comment, writer);
    if (entry.empty_layer) writer.Key("empty_layer").Bool(true);
    writer.EndObject();
  }
  writer.EndArray();
}

void EncodeRootFs(const RootFs& rootfs, JsonWriter& writer) {
  writer.BeginObject().Key("type").String(rootfs.type);
  writer.Key("diff_ids");
  if (rootfs.diff_ids.empty()) {
    writer.Null();
  } else {
    writer.BeginArray();
    for (const Digest& digest : rootfs.diff_ids) writer.String(digest.ToString());
    writer.EndArray();
  }
  writer.EndObject();
}

// The known top-level fields as compact JSON by key.
std::map<std::string, std::string> KnownFields(const ImageConfig& config) {
  std::map<std::string, std::string> fields;
  const auto add = [&](const char* key, const std::function<void(JsonWriter&)>& encode) {
    JsonWriter writer;
    encode(writer);
    fields[key] = writer.Take();
  };
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) add(key, [&](JsonWriter& writer) { writer.String(value); });
  };
  text("created", config.created);
  text("author", config.author);
  add("architecture", [&](JsonWriter& writer) { writer.String(config.platform.architecture); });
  add("os", [&](JsonWriter& writer) { writer.String(config.platform.os); });
  text("os.version", config.platform.os_version);
  text("variant", config.platform.variant);
  if (!config.platform.os_features.empty()) {
    add("os.features", [&](JsonWriter& writer) {
      writer.BeginArray();
      for (const std::string& feature : config.platform.os_features) writer.String(feature);
      writer.EndArray();
    });
  }
  add("config", [&](JsonWriter& writer) { EncodeRunConfig(config.config, writer); });
  add("rootfs", [&](JsonWriter& writer) { EncodeRootFs(config.rootfs, writer); });
  if (!config.history.empty()) {
    add("history", [&](JsonWriter& writer) { EncodeHistory(config.history, writer); });
  }
  return fields;
}

std::string EncodeFields(std::map<std::string, std::string> fields, const ImageConfig& config) {
  for (const auto& [key, json] : config.unknown) fields.emplace(key, json);
  JsonWriter writer;
  writer.BeginObject();
  for (const auto& [key, json] : fields) writer.Key(key).Raw(json);
  writer.EndObject();
  return writer.Take();
}

}  // namespace

Result<ImageConfig> DecodeImageConfig(std::string_view json) {
  TRY_ASSIGN(const nlohmann::json value, ParseJson(json, "image config", kConfigLimits));
  TRY_ASSIGN(const JsonFields fields, JsonFields::Of(value, "image config"));
  ImageConfig config;
  TRY(fields.String("created", config.created));
  TRY(fields.String("author", config.author));
  TRY(DecodePlatformFields(fields, config.platform));
  if (const auto* run = fields.Find("config")) TRY(DecodeRunConfig(*run, config.config));
  if (const auto* rootfs = fields.Find("rootfs")) {
    TRY(DecodeRootFs(*rootfs, config.rootfs));
  } else {
    config.rootfs.type.clear();
  }
  if (const auto* history = fields.Find("history")) {
    if (!history->is_array())
      return InvalidArgument("image config: field \"history\" must be an array");
    config.lists_history = true;
    for (const auto& item : *history) {
      TRY_ASSIGN(History entry, DecodeHistory(item));
      config.history.push_back(std::move(entry));
    }
  }
  CollectUnknown(fields, kTopLevelKeys, config.unknown);
  return config;
}

std::string Encode(const ImageConfig& config) { return EncodeFields(KnownFields(config), config); }

std::string EncodeExported(const ImageConfig& config) {
  std::map<std::string, std::string> fields = KnownFields(config);
  fields.emplace("created", "null");
  fields.emplace("history", config.lists_history ? "[]" : "null");
  return EncodeFields(std::move(fields), config);
}

ImageConfig DefaultImageConfig(const Platform& platform) {
  ImageConfig config;
  config.platform = platform;
  config.config.working_dir = "/";
  if (platform.os != "windows") {  // which knows its own
    config.config.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  }
  return config;
}

Digest ChainIdOn(const std::optional<Digest>& below, const Digest& diff_id) {
  return below ? Sha256Of(below->ToString() + " " + diff_id.ToString()) : diff_id;
}

std::vector<Digest> ChainIds(const std::vector<Digest>& diff_ids) {
  std::vector<Digest> chain;
  chain.reserve(diff_ids.size());
  for (const Digest& diff_id : diff_ids) {
    chain.push_back(ChainIdOn(chain.empty() ? std::nullopt : std::optional(chain.back()), diff_id));
  }
  return chain;
}

Digest ChainId(const std::vector<Digest>& diff_ids) {
  const std::vector<Digest> chain = ChainIds(diff_ids);
  return chain.empty() ? Digest() : chain.back();
}

}  // namespace kiln::oci
