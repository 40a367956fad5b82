#include "cdi/spec.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <utility>

#include "base/strings.h"
#include "cdi/yaml.h"

namespace kiln::cdi {
namespace {

using Kind = YamlValue::Kind;

// Versions in the order of their release; a spec needs at least `kFirst`.
constexpr std::string_view kVersions[] = {"0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0",
                                          "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"};
enum VersionIndex { kFirst = 2, kV040, kV050, kV060, kV070, kV110 = 9 };

// Puts a value where it belongs; null never gets here.
using Setter = std::function<Status(const YamlValue& value)>;

struct Field {
  std::string_view name;
  Setter set;
};

Error Wrong(std::string_view wanted) { return InvalidArgument("not {}", wanted); }

Status ReadObject(const YamlValue& value, const std::vector<Field>& fields) {
  if (value.kind != Kind::kMap) return Wrong("an object");
  for (size_t i = 0; i < value.keys.size(); ++i) {
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const Field& known) {
      return known.name == value.keys[i];
    });
    if (field == fields.end())
      return InvalidArgument("unknown field {}", Quoted(value.keys[i], 64));
    if (value.values[i].kind == Kind::kNull) continue;
    TRY_CTX(field->set(value.values[i]), "{}", field->name);
  }
  return OkStatus();
}

// Numbers and booleans are texts where one is wanted, as they are written.
Result<std::string> TextOf(const YamlValue& value) {
  if (value.kind == Kind::kNull) return std::string();
  if (value.kind != Kind::kScalar) return Wrong("a text");
  return value.text;
}

Setter Text(std::string* to) {
  return [to](const YamlValue& value) -> Status {
    TRY_ASSIGN(*to, TextOf(value));
    return OkStatus();
  };
}

// Every element of a list, by `read(element)`.
Setter Each(Setter read) {
  return [read = std::move(read)](const YamlValue& value) -> Status {
    if (value.kind != Kind::kList) return Wrong("a list");
    for (size_t i = 0; i < value.values.size(); ++i) TRY_CTX(read(value.values[i]), "{}", i);
    return OkStatus();
  };
}

Setter Texts(std::vector<std::string>* to) {
  return Each([to](const YamlValue& value) -> Status {
    TRY_ASSIGN(std::string text, TextOf(value));
    to->push_back(std::move(text));
    return OkStatus();
  });
}

Setter TextMap(Annotations* to) {
  return [to](const YamlValue& value) -> Status {
    if (value.kind != Kind::kMap) return Wrong("an object");
    for (size_t i = 0; i < value.keys.size(); ++i) {
      TRY_ASSIGN_CTX((*to)[value.keys[i]], TextOf(value.values[i]), "{}",
                     Quoted(value.keys[i], 64));
    }
    return OkStatus();
  };
}

Setter Flag(bool* to) {
  return [to](const YamlValue& value) -> Status {
    const std::string text = ToLower(value.text);
    if (!value.plain || (text != "true" && text != "false")) return Wrong("true or false");
    *to = text == "true";
    return OkStatus();
  };
}

// As YAML writes whole numbers: 12, -5, 0x1F, 0b101, 0o17 and, as before, 017; 1_000.
template <typename T>
Result<T> NumberOf(const YamlValue& value) {
  const Error wrong = Wrong("a whole number in range");
  std::string digits = ReplaceAll(value.text, "_", "");
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.erase(0, 1);
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0') {
    const char letter = digits[1];
    base = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
    digits.erase(0, letter == 'x' || letter == 'b' || letter == 'o' ? 2 : 1);
  }
  const auto number = ParseUint(digits, base);
  if (!value.plain || !number) return wrong;
  if (!negative) {
    if (!std::in_range<T>(*number)) return wrong;
    return static_cast<T>(*number);
  }
  if (*number > uint64_t{1} << 63) return wrong;
  const auto below_zero = static_cast<int64_t>(~*number + 1);
  if (!std::in_range<T>(below_zero)) return wrong;
  return static_cast<T>(below_zero);
}

// `to` is a number or an optional one.
template <typename T, typename To>
Setter Number(To* to) {
  return [to](const YamlValue& value) -> Status {
    TRY_ASSIGN(*to, NumberOf<T>(value));
    return OkStatus();
  };
}

// A list of objects, whose fields `fields(element)` names.
template <typename T>
Setter Objects(std::vector<T>* to, std::vector<Field> (*fields)(T*)) {
  return Each([to, fields](const YamlValue& value) -> Status {
    T one;
    TRY(ReadObject(value, fields(&one)));
    to->push_back(std::move(one));
    return OkStatus();
  });
}

std::vector<Field> FieldsOf(DeviceNode* node) {
  return {{"path", Text(&node->path)},
          {"hostPath", Text(&node->host_path)},
          {"type", Text(&node->type)},
          {"major", Number<int64_t>(&node->major)},
          {"minor", Number<int64_t>(&node->minor)},
          {"fileMode", Number<uint32_t>(&node->file_mode)},
          {"permissions", Text(&node->permissions)},
          {"uid", Number<uint32_t>(&node->uid)},
          {"gid", Number<uint32_t>(&node->gid)}};
}

std::vector<Field> FieldsOf(NetDevice* device) {
  return {{"hostInterfaceName", Text(&device->host_interface)}, {"name", Text(&device->name)}};
}

std::vector<Field> FieldsOf(Mount* mount) {
  return {{"hostPath", Text(&mount->host_path)},
          {"containerPath", Text(&mount->container_path)},
          {"options", Texts(&mount->options)},
          {"type", Text(&mount->type)}};
}

std::vector<Field> FieldsOf(Hook* hook) {
  return {{"hookName", Text(&hook->name)},
          {"path", Text(&hook->path)},
          {"args", Texts(&hook->args)},
          {"env", Texts(&hook->env)},
          {"timeout", Number<int64_t>(&hook->timeout)}};
}

Setter Rdt(std::optional<IntelRdt>* to) {
  return [to](const YamlValue& value) -> Status {
    IntelRdt& rdt = to->emplace();
    const Setter schemata = [&rdt](const YamlValue& list) {
      return Texts(&rdt.schemata.emplace())(list);
    };
    return ReadObject(value, {{"closID", Text(&rdt.clos_id)},
                              {"l3CacheSchema", Text(&rdt.l3_cache_schema)},
                              {"memBwSchema", Text(&rdt.mem_bw_schema)},
                              {"schemata", schemata},
                              {"enableMonitoring", Flag(&rdt.enable_monitoring)}});
  };
}

Setter Edits(ContainerEdits* edits) {
  return [edits](const YamlValue& value) {
    const Setter gids = Each([edits](const YamlValue& gid) -> Status {
      TRY_ASSIGN(const uint32_t number, NumberOf<uint32_t>(gid));
      edits->additional_gids.push_back(number);
      return OkStatus();
    });
    return ReadObject(value, {{"env", Texts(&edits->env)},
                              {"deviceNodes", Objects<DeviceNode>(&edits->device_nodes, FieldsOf)},
                              {"netDevices", Objects<NetDevice>(&edits->net_devices, FieldsOf)},
                              {"hooks", Objects<Hook>(&edits->hooks, FieldsOf)},
                              {"mounts", Objects<Mount>(&edits->mounts, FieldsOf)},
                              {"intelRdt", Rdt(&edits->intel_rdt)},
                              {"additionalGids", gids}});
  };
}

std::vector<Field> FieldsOf(Device* device) {
  return {{"name", Text(&device->name)},
          {"annotations", TextMap(&device->annotations)},
          {"containerEdits", Edits(&device->edits)}};
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlphanumeric(char c) { return IsLetter(c) || IsDigit(c); }

// Begins with a letter (or a digit), ends with a letter or digit, has those and `between`
// otherwise.
Status CheckName(std::string_view name, bool may_begin_with_digit, std::string_view between) {
  if (name.empty()) return InvalidArgument("empty name");
  if (!IsLetter(name[0]) && !(may_begin_with_digit && IsDigit(name[0])))
    return InvalidArgument("{}, should start with a letter{}", Quoted(name),
                           may_begin_with_digit ? " or digit" : "");
  for (const char c : name.substr(1)) {
    if (!IsAlphanumeric(c) && between.find(c) == std::string_view::npos)
      return InvalidArgument("invalid character {} in name {}", Quoted({&c, 1}), Quoted(name));
  }
  if (!IsAlphanumeric(name.back()))
    return InvalidArgument("{}, should end with a letter or digit", Quoted(name));
  return OkStatus();
}

int NeededBy(const ContainerEdits& edits) {
  int needed = kFirst;
  const auto need = [&](int version, bool used) {
    if (used) needed = std::max(needed, version);
  };
  need(kV040, std::any_of(edits.mounts.begin(), edits.mounts.end(),
                          [](const Mount& mount) { return !mount.type.empty(); }));
  need(kV050, std::any_of(edits.device_nodes.begin(), edits.device_nodes.end(),
                          [](const DeviceNode& node) { return !node.host_path.empty(); }));
  need(kV070, edits.intel_rdt.has_value() || !edits.additional_gids.empty());
  need(kV110, !edits.net_devices.empty());
  need(kV110, edits.intel_rdt && (edits.intel_rdt->schemata || edits.intel_rdt->enable_monitoring));
  return needed;
}

int NeededBy(const Spec& spec) {
  int needed = NeededBy(spec.edits);
  for (const Device& device : spec.devices) {
    needed = std::max(needed, NeededBy(device.edits));
    if (!device.name.empty() && IsDigit(device.name[0])) needed = std::max<int>(needed, kV050);
    if (!device.annotations.empty()) needed = std::max<int>(needed, kV060);
  }
  if (!spec.annotations.empty() || SplitKind(spec.kind).second.find('.') != std::string_view::npos)
    needed = std::max<int>(needed, kV060);
  return needed;
}

Status CheckVersion(const Spec& spec) {
  std::string_view version = spec.version;
  if (version.starts_with('v')) version.remove_prefix(1);
  const auto* known = std::find(std::begin(kVersions), std::end(kVersions), version);
  if (known == std::end(kVersions)) return InvalidArgument("invalid version {}", Quoted(version));
  const int needed = NeededBy(spec);
  if (known - std::begin(kVersions) < needed && needed > kFirst)
    return InvalidArgument("the spec version must be at least v{}", kVersions[needed]);
  return OkStatus();
}

Status CheckDevice(const Device& device) {
  TRY_CTX(CheckName(device.name, /*may_begin_with_digit=*/true, "_-.:"), "invalid device name");
  if (device.edits.empty()) return InvalidArgument("invalid device, empty device edits");
  TRY_CTX(Validate(device.edits), "invalid device {}", Quoted(device.name));
  return OkStatus();
}

Status Check(const Spec& spec) {
  TRY(CheckVersion(spec));
  const auto [vendor, class_name] = SplitKind(spec.kind);
  TRY_CTX(CheckName(vendor, /*may_begin_with_digit=*/false, "_-."), "invalid vendor");
  TRY_CTX(CheckName(class_name, /*may_begin_with_digit=*/false, "_-."), "invalid class");
  TRY(Validate(spec.edits));
  std::set<std::string_view> names;
  for (const Device& device : spec.devices) {
    TRY_CTX(CheckDevice(device), "failed add device {}", Quoted(device.name));
    if (!names.insert(device.name).second)
      return InvalidArgument("invalid spec, multiple device {}", Quoted(device.name));
  }
  if (names.empty()) return InvalidArgument("invalid spec, no devices");
  return OkStatus();
}

}  // namespace

std::pair<std::string_view, std::string_view> SplitKind(std::string_view kind) {
  const auto cut = Cut(kind, "/");
  if (!cut || cut->first.empty() || cut->second.empty()) return {{}, kind};
  return *cut;
}

Result<Spec> ParseSpec(std::string_view text) {
  TRY_ASSIGN(const YamlValue document, ParseYaml(text));
  if (document.kind == Kind::kNull) return InvalidArgument("no Spec data");
  Spec spec;
  TRY(ReadObject(document, {{"cdiVersion", Text(&spec.version)},
                            {"kind", Text(&spec.kind)},
                            {"annotations", TextMap(&spec.annotations)},
                            {"devices", Objects<Device>(&spec.devices, FieldsOf)},
                            {"containerEdits", Edits(&spec.edits)}}));
  TRY_CTX(Check(spec), "invalid CDI Spec");
  return spec;
}

}  // namespace kiln::cdi
