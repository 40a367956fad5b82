#include "ops/owner.h"

#include "executor/user_files.h"

namespace kiln::ops {
namespace {

// "" when there is no such file.
Result<std::string> ReadDatabase(const store::TreeView& tree, std::string_view path) {
  auto text = tree.ReadFile(path, 0, 0, executor::kMaxUserFileBytes);
  if (text.ok()) return text;
  if (text.error().code() == Code::kNotFound) return std::string();
  return std::move(text).error();
}

}  // namespace

Result<FileOwner> ResolveOwner(const pb::ChownOpt& owner, const store::TreeView& users,
                               const store::TreeView& groups) {
  FileOwner result;
  if (owner.user().has_byname()) {
    TRY_ASSIGN(std::string passwd, ReadDatabase(users, "/etc/passwd"));
    const auto entry =
        executor::FindUser(passwd, owner.user().byname().name(), executor::MatchBy::kName);
    if (entry) result = {entry->uid, entry->gid};
  } else if (owner.user().user_case() == pb::UserOpt::kByID) {
    result = {owner.user().byid(), owner.user().byid()};
  }
  if (owner.group().has_byname()) {
    TRY_ASSIGN(std::string group, ReadDatabase(groups, "/etc/group"));
    result.gid = executor::FindGroup(group, owner.group().byname().name(), executor::MatchBy::kName)
                     .value_or(0);
  } else if (owner.group().user_case() == pb::UserOpt::kByID) {
    result.gid = owner.group().byid();
  }
  return result;
}

}  // namespace kiln::ops
