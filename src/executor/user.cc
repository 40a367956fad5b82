#include "executor/user.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"

namespace kiln::executor {
namespace {

constexpr size_t kMaxFileBytes = 10 << 20;
constexpr uint64_t kMaxId = 0x7fffffff;

struct Passwd {
  std::string name;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct Group {
  uint32_t gid = 0;
  std::string_view members;
};

uint32_t IdOf(std::string_view text) {
  auto id = ParseUint(text);
  return id && *id <= UINT32_MAX ? static_cast<uint32_t>(*id) : 0;
}

std::optional<uint32_t> NumericOrRoot(std::string_view text) {
  if (text == "root") return 0;
  auto id = ParseUint(text);
  if (!id || *id > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

// Calls `visit` with the fields of each line until it returns true.
template <typename Visit>
bool ForEachLine(std::string_view text, size_t min_fields, Visit visit) {
  for (std::string_view line : Split(text, '\n')) {
    line = Trim(line);
    if (line.empty()) continue;
    std::vector<std::string_view> fields = Split(line, ':');
    if (fields.size() >= min_fields && visit(fields)) return true;
  }
  return false;
}

std::optional<Passwd> FindUser(std::string_view text, const std::string& wanted) {
  std::optional<Passwd> found;
  auto number = ParseUint(wanted);
  ForEachLine(text, 4, [&](const std::vector<std::string_view>& fields) {
    uint32_t uid = IdOf(fields[2]);
    if (fields[0] != wanted && !(number && *number == uid)) return false;
    found = Passwd{std::string(fields[0]), uid, IdOf(fields[3])};
    return true;
  });
  return found;
}

std::optional<uint32_t> FindGroup(std::string_view text, const std::string& wanted) {
  std::optional<uint32_t> found;
  auto number = ParseUint(wanted);
  ForEachLine(text, 3, [&](const std::vector<std::string_view>& fields) {
    uint32_t gid = IdOf(fields[2]);
    if (fields[0] != wanted && !(number && *number == gid)) return false;
    found = gid;
    return true;
  });
  return found;
}

std::vector<uint32_t> GroupsListing(std::string_view text, const std::string& user) {
  std::vector<uint32_t> gids;
  ForEachLine(text, 4, [&](const std::vector<std::string_view>& fields) {
    std::vector<std::string_view> members = Split(fields[3], ',');
    if (std::find(members.begin(), members.end(), user) != members.end())
      gids.push_back(IdOf(fields[2]));
    return false;
  });
  return gids;
}

// A missing file has no entries.
Result<std::string> ReadDatabase(const sys::RootedPath& root, const char* path) {
  auto text = root.ReadFile(path, kMaxFileBytes);
  if (text.ok()) return std::move(*text);
  if (text.error().code() == Code::kNotFound) return std::string();
  return std::move(text).error();
}

Result<UserIds> LookUpByFiles(const sys::RootedPath& root, const std::string& user,
                              const std::string& group) {
  TRY_ASSIGN(std::string passwd, ReadDatabase(root, "/etc/passwd"));
  UserIds ids;
  std::optional<Passwd> entry = FindUser(passwd, user);
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
  } else if (auto gid = FindGroup(groups, group)) {
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
