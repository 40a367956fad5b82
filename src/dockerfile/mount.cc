#include "dockerfile/mount.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <utility>
#include <vector>

#include "base/csv.h"
#include "base/strings.h"
#include "dockerfile/suggest.h"

namespace kiln::dockerfile {
namespace {

// Aliases and what they stand for.
constexpr std::array<std::pair<std::string_view, std::string_view>, 18> kKeys = {{
    {"type", "type"},
    {"from", "from"},
    {"source", "source"},
    {"src", "source"},
    {"target", "target"},
    {"dst", "target"},
    {"destination", "target"},
    {"readonly", "readonly"},
    {"ro", "readonly"},
    {"readwrite", "readwrite"},
    {"rw", "readwrite"},
    {"id", "id"},
    {"sharing", "sharing"},
    {"required", "required"},
    {"size", "size"},
    {"mode", "mode"},
    {"uid", "uid"},
    {"gid", "gid"},
}};
constexpr std::array<std::string_view, 5> kTypes = {"bind", "cache", "tmpfs", "secret", "ssh"};
constexpr std::array<std::string_view, 3> kSharings = {"shared", "private", "locked"};

std::string_view CanonicalKey(std::string_view key) {
  if (key == "env") return key;
  for (const auto& [alias, canonical] : kKeys) {
    if (alias == key) return canonical;
  }
  return "";
}

std::vector<std::string> KeyNames() {
  std::vector<std::string> names = {"env"};
  for (const auto& key : kKeys) names.emplace_back(key.first);
  return names;
}

bool IsSwitch(std::string_view key) {
  return key == "readonly" || key == "readwrite" || key == "required";
}

template <std::size_t N>
Result<int> OneOf(const std::array<std::string_view, N>& names, std::string_view value,
                  std::string_view what) {
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == value) return static_cast<int>(i);
  }
  return Unknown("unsupported {} {}{}", what, Quoted(value),
                 DidYouMean(value, std::vector<std::string>(names.begin(), names.end())));
}

// A size with 1024-based suffixes: 64m, 1.5g, 100kib, 7b.
Result<std::int64_t> ParseSize(std::string_view text) {
  const std::string lower = ToLower(Trim(text));
  std::string_view rest = lower;
  if (rest.ends_with("ib") && rest.size() > 2) {
    rest.remove_suffix(2);
  } else if (rest.ends_with('b')) {
    rest.remove_suffix(1);
  }
  std::int64_t unit = 1;
  constexpr std::string_view kSuffixes = "kmgtp";
  if (!rest.empty() && kSuffixes.find(rest.back()) != std::string_view::npos) {
    unit = std::int64_t{1} << (10 * (kSuffixes.find(rest.back()) + 1));
    rest.remove_suffix(1);
  }
  rest = Trim(rest);
  double value = 0;
  double scale = 0;
  if (rest.empty() || rest.size() > 18 || !std::isdigit(static_cast<unsigned char>(rest[0]))) {
    return Unknown("invalid value for size: {}", text);
  }
  for (const char c : rest) {
    if (c == '.' && scale == 0) {
      scale = 1;
    } else if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
      value = value * 10 + (c - '0');
      scale *= 10;
    } else {
      return Unknown("invalid value for size: {}", text);
    }
  }
  const double bytes = (scale > 0 ? value / scale : value) * static_cast<double>(unit);
  if (bytes >= 9e18) return Unknown("invalid value for size: {}", text);
  return static_cast<std::int64_t>(bytes);
}

bool IsFile(MountType type) { return type == MountType::kSecret || type == MountType::kSsh; }
bool HasOwner(MountType type) { return IsFile(type) || type == MountType::kCache; }

class Resolver {
 public:
  // Takes switches as they were written: messages name them so.
  Status Apply(const std::string& written, const std::optional<std::string>& value) {
    const std::string key(CanonicalKey(written));
    if (key == "type") {
      TRY_ASSIGN(const int type, OneOf(kTypes, *value, "mount type"));
      mount_.type = static_cast<MountType>(type);
      return OkStatus();
    }
    if (IsSwitch(key)) return ApplySwitch(written, value);
    if (key == "mode" || key == "uid" || key == "gid") return ApplyNumber(key, *value);
    if (key == "from") mount_.from = *value;
    if (key == "source") mount_.source = *value;
    if (key == "target") mount_.target = *value;
    if (key == "id") mount_.id = *value;
    if (key == "env") mount_.env = *value;
    if (key == "sharing") {
      TRY_ASSIGN(const int sharing, OneOf(kSharings, ToLower(*value), "sharing value"));
      mount_.sharing = static_cast<CacheSharing>(sharing);
      has_sharing_ = true;
    }
    if (key == "size") {
      if (mount_.type != MountType::kTmpfs) {
        return Unknown("unexpected key 'size' for mount type '{}'", TypeName());
      }
      TRY_ASSIGN(mount_.size_bytes, ParseSize(*value));
    }
    return OkStatus();
  }

  Result<Mount> Finish() {
    const MountType type = mount_.type;
    if (has_sharing_ && type != MountType::kCache) {
      return Unknown("invalid cache sharing set for {} mount", TypeName());
    }
    if (mount_.readonly && IsFile(type)) {
      return Unknown("readonly and readwrite are not allowed for mount type '{}'", TypeName());
    }
    if (!mount_.from.empty() && type != MountType::kBind && type != MountType::kCache) {
      return Unknown("{} mount should not have a from", TypeName());
    }
    if (!HasOwner(type) && (mount_.uid || mount_.gid || mount_.mode)) {
      const std::string_view key = mount_.mode ? "mode" : mount_.uid ? "uid" : "gid";
      return Unknown("{} not allowed for {} type mounts", key, Quoted(TypeName()));
    }
    if (!mount_.source.empty() && (type == MountType::kSsh || type == MountType::kTmpfs)) {
      return Unknown("{} does not support source", TypeName());
    }
    if (type == MountType::kSecret && mount_.target.empty() && mount_.source.empty() &&
        mount_.id.empty()) {
      return Unknown("invalid secret mount. one of source, target required");
    }
    return mount_;
  }

 private:
  std::string_view TypeName() const { return kTypes[static_cast<std::size_t>(mount_.type)]; }

  Status ApplySwitch(const std::string& written, const std::optional<std::string>& value) {
    const std::string_view key = CanonicalKey(written);
    bool on = true;
    if (value) {
      const auto parsed = ParseBool(*value);
      if (!parsed) return Unknown("invalid value for {}: {}", written, *value);
      on = *parsed;
    }
    if (key == "readonly") mount_.readonly = on;
    if (key == "readwrite") mount_.readonly = !on;
    if (key == "required") {
      if (!IsFile(mount_.type)) {
        return Unknown("unexpected key 'required' for mount type '{}'", TypeName());
      }
      mount_.required = on;
    }
    return OkStatus();
  }

  Status ApplyNumber(const std::string& key, const std::string& value) {
    const auto number = ParseUint(value, key == "mode" ? 8 : 10);
    if (!number || *number > 0xffffffffU) {
      return Unknown("invalid value {} for {}", value, key);
    }
    (key == "mode"  ? mount_.mode
     : key == "uid" ? mount_.uid
                    : mount_.gid) = static_cast<std::uint32_t>(*number);
    return OkStatus();
  }

  Mount mount_;
  bool has_sharing_ = false;
};

}  // namespace

std::string MountSpec::from() const {
  std::string from;
  for (const auto& [key, value] : fields) {
    if (key == "from" && value) from = *value;
  }
  return from;
}

Result<MountSpec> ParseMountSpec(std::string_view text) {
  TRY_ASSIGN_CTX(const auto fields, ParseCsv(text), "failed to parse csv mounts");
  MountSpec spec;
  spec.text = text;
  for (const std::string& field : fields) {
    const auto cut = Cut(field, "=");
    const std::string written = ToLower(cut ? cut->first : std::string_view(field));
    const std::string_view key = CanonicalKey(written);
    if (spec.problem.empty() && !cut && !IsSwitch(key)) {
      spec.problem = fmt::format("invalid field '{}' must be a key=value pair", field);
    } else if (spec.problem.empty() && key.empty()) {
      spec.problem = fmt::format("unexpected key '{}' in '{}'{}", written, field,
                                 DidYouMean(written, KeyNames()));
    }
    if (key.empty() || (!cut && !IsSwitch(key))) continue;
    std::optional<std::string> value;
    if (cut) value = std::string(cut->second);
    if (key == "from" && value->find('$') != std::string::npos) {
      return Unknown("'from' doesn't support variable expansion, define alias stage instead");
    }
    spec.fields.emplace_back(IsSwitch(key) ? std::string_view(written) : key, std::move(value));
  }
  return spec;
}

Result<Mount> ResolveMount(const MountSpec& spec, const ExpandWord& expand) {
  if (!spec.problem.empty()) return Unknown("{}", spec.problem);
  Resolver resolver;
  for (const auto& [key, value] : spec.fields) {
    std::optional<std::string> expanded = value;
    if (value && key != "from") {
      TRY_ASSIGN(expanded, expand(*value));
    }
    TRY(resolver.Apply(key, expanded));
  }
  return resolver.Finish();
}

}  // namespace kiln::dockerfile
