#include "executor/user.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "executor/user_files.h"

namespace kiln::executor {
namespace {

constexpr uint64_t kMaxId = 0x7fffffff;

std::optional<uint32_t> NumericOrRoot(std::string_view text) {
  if (text == "root") return 0;
  auto id = ParseUint(text);
  if (!id || *id > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

// A missing file has no entries.
Result<std::string> ReadDatabase(const sys::RootedPath& root, const char* path) {
  auto text = root.ReadFile(path, kMaxUserFileBytes);
  if (text.ok()) return std::move(*text);
  if (text.error().code() == Code::kNotFound) return std::string();
  return std::move(text).error();
}

Result<UserIds> LookUpByFiles(const sys::RootedPath& root, const std::string& user,
                              const std::string& group) {
  TRY_ASSIGN(std::string passwd, ReadDatabase(root, "/etc/passwd"));
  UserIds ids;
  const auto entry = FindUser(passwd, user, MatchBy::kNameOrId);
  if (entry) {
    ids.uid = entry->uid;
    ids.gid = entry->gid;
  } else {
    auto number = ParseUint(user);
    if (!number)
      return InvalidArgument("unable to find user {}: no matching entries in passwd file", user);
    if (*number > kMaxId) return InvalidArgument("user id {} is out of range", user);
    ids.uid = static_cast<uint32_t>(*number);
  }
  if (group.empty() && !entry) return ids;
  TRY_ASSIGN(std::string groups, ReadDatabase(root, "/etc/group"));
  if (group.empty()) {
    ids.additional_gids = GroupsListing(groups, entry->name);
  } else if (auto gid = FindGroup(groups, group, MatchBy::kNameOrId)) {
    ids.gid = *gid;
  } else {
    auto number = ParseUint(group);
    if (!number)
      return InvalidArgument("unable to find group {}: no matching entries in group file", group);
    if (*number > kMaxId) return InvalidArgument("group id {} is out of range", group);
    ids.gid = static_cast<uint32_t>(*number);
  }
  return ids;
}

}  // namespace

Result<UserIds> LookUpUser(const sys::RootedPath& root, const std::string& user) {
  UserIds ids;
  auto parts = Cut(user, ":");
  std::string name(parts ? parts->first : std::string_view(user));
  std::string group(parts ? parts->second : std::string_view());
  std::optional<uint32_t> uid = NumericOrRoot(name);
  std::optional<uint32_t> gid = NumericOrRoot(group);
  if (user.empty()) {
    // Root, and its groups if the files tell them.
    if (auto found = LookUpByFiles(root, "0", ""); found.ok()) ids = std::move(*found);
  } else if (parts && uid && gid) {
    ids = {.uid = *uid, .gid = *gid};
  } else {
    TRY_ASSIGN(ids, LookUpByFiles(root, name.empty() ? "0" : name, group));
  }
  std::erase(ids.additional_gids, ids.gid);
  ids.additional_gids.insert(ids.additional_gids.begin(), ids.gid);
  return ids;
}

}  // namespace kiln::executor
