#include "base/byte_size.h"
#include "base/strings.h"
#include "cmd/build_parts.h"

namespace kiln::cmd {
namespace {

enum class Kind { kSize, kSizeOrUnlimited, kNumber, kText };

// What --resource calls a limit (as docker run does), and the frontend's attribute for it.
struct Resource {
  std::string_view name;
  const char* attr;
  Kind kind;
};
constexpr Resource kResources[] = {
    {"memory", "memory", Kind::kSize},          {"memory-swap", "memswap", Kind::kSizeOrUnlimited},
    {"cpu-shares", "cpushares", Kind::kNumber}, {"cpu-period", "cpuperiod", Kind::kNumber},
    {"cpu-quota", "cpuquota", Kind::kNumber},   {"cpuset-cpus", "cpusetcpus", Kind::kText},
    {"cpuset-mems", "cpusetmems", Kind::kText}};

Result<std::string> ValueOf(const Resource& resource, const std::string& text) {
  if (resource.kind == Kind::kText) return text;
  if (resource.kind == Kind::kSizeOrUnlimited && text == "-1") return text;
  const auto value = resource.kind == Kind::kNumber ? ParseInt(text) : ParseByteSize(text);
  if (!value)
    return InvalidArgument("invalid value {} for resource {}", Quoted(text), resource.name);
  return std::to_string(*value);
}

// Where there is nothing to limit: docker takes it as if it had not been said.
bool IsNone(const Resource& resource, const std::string& value) {
  if (value.empty() || resource.kind == Kind::kText) return value.empty();
  return value == "0" || (resource.kind == Kind::kNumber && value.starts_with('-'));
}

}  // namespace

Status AddResources(const BuildFlags& flags, Attrs& attrs) {
  std::vector<std::string> names;
  for (const Resource& resource : kResources) names.emplace_back(resource.name);
  std::vector<std::string> all = flags.limits;
  all.insert(all.end(), flags.resources.begin(), flags.resources.end());
  for (const std::string& text : all) {
    TRY_ASSIGN(const auto pair, KeyValue("--resource", text));
    const std::string name(Trim(pair.first));
    const Resource* found = nullptr;
    for (const Resource& resource : kResources) found = resource.name == name ? &resource : found;
    if (found == nullptr) {
      return InvalidArgument("unknown resource {}: want one of {}", Quoted(name),
                             Join(names, ", "));
    }
    TRY_ASSIGN(std::string value, ValueOf(*found, std::string(Trim(pair.second))));
    attrs.erase(found->attr);
    if (!IsNone(*found, value)) attrs[found->attr] = std::move(value);
  }
  return OkStatus();
}

}  // namespace kiln::cmd
