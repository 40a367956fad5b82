#include "ops/owner.h"

#include "base/strings.h"

namespace kiln::ops {
namespace {

constexpr uint64_t kMaxBytes = 10 << 20;

// "" when there is no such file.
Result<std::string> ReadDatabase(const store::TreeView& tree, std::string_view path) {
  auto text = tree.ReadFile(path, 0, 0, kMaxBytes);
  if (text.ok()) return text;
  if (text.error().code() == Code::kNotFound) return std::string();
  return std::move(text).error();
}

std::optional<uint32_t> ParseId(std::string_view text) {
  auto id = ParseUint(Trim(text));
  if (!id || *id > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

}  // namespace

std::optional<FileOwner> FindUser(std::string_view passwd, std::string_view name) {
  for (std::string_view line : Split(passwd, '\n')) {
    auto fields = Split(Trim(line), ':');
    if (fields.size() < 4 || fields[0] != name || name.empty() || name.starts_with('#')) continue;
    auto uid = ParseId(fields[2]);
    auto gid = ParseId(fields[3]);
    return FileOwner{uid.value_or(0), gid.value_or(0)};
  }
  return std::nullopt;
}

std::optional<uint32_t> FindGroup(std::string_view group, std::string_view name) {
  for (std::string_view line : Split(group, '\n')) {
    auto fields = Split(Trim(line), ':');
    if (fields.size() < 3 || fields[0] != name || name.empty() || name.starts_with('#')) continue;
    return ParseId(fields[2]).value_or(0);
  }
  return std::nullopt;
}

Result<FileOwner> ResolveOwner(const pb::ChownOpt& owner, const store::TreeView& users,
                               const store::TreeView& groups) {
  FileOwner result;
  if (owner.user().has_byname()) {
    TRY_ASSIGN(std::string passwd, ReadDatabase(users, "/etc/passwd"));
    result = FindUser(passwd, owner.user().byname().name()).value_or(FileOwner());
  } else if (owner.user().user_case() == pb::UserOpt::kByID) {
    result = {owner.user().byid(), owner.user().byid()};
  }
  if (owner.group().has_byname()) {
    TRY_ASSIGN(std::string group, ReadDatabase(groups, "/etc/group"));
    result.gid = FindGroup(group, owner.group().byname().name()).value_or(0);
  } else if (owner.group().user_case() == pb::UserOpt::kByID) {
    result.gid = owner.group().byid();
  }
  return result;
}

}  // namespace kiln::ops
