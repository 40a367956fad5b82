#include "executor/user_files.h"

#include "base/lists.h"
#include "base/strings.h"

namespace kiln::executor {
namespace {

using Fields = std::vector<std::string_view>;

uint32_t IdOf(std::string_view text) {
  auto id = ParseUint(text);
  return id && *id <= UINT32_MAX ? static_cast<uint32_t>(*id) : 0;
}

// Calls `visit` with the fields of each line until it returns true.
template <typename Visit>
void ForEachLine(std::string_view text, std::size_t min_fields, Visit visit) {
  for (std::string_view line : Split(text, '\n')) {
    const Fields fields = Split(Trim(line), ':');
    if (fields.size() >= min_fields && visit(fields)) return;
  }
}

// Whether a line's name (the first field) or id (the third) is the one that is looked for.
class Wanted {
 public:
  Wanted(std::string_view text, MatchBy by) : name_(text) {
    if (by == MatchBy::kNameOrId) id_ = ParseUint(text);
  }
  bool operator()(const Fields& fields) const {
    return !name_.empty() && (fields[0] == name_ || (id_ && *id_ == IdOf(fields[2])));
  }

 private:
  std::string_view name_;
  std::optional<uint64_t> id_;
};

}  // namespace

std::optional<PasswdEntry> FindUser(std::string_view passwd, std::string_view wanted, MatchBy by) {
  std::optional<PasswdEntry> found;
  ForEachLine(passwd, 4, [&, matches = Wanted(wanted, by)](const Fields& fields) {
    if (matches(fields)) found = {std::string(fields[0]), IdOf(fields[2]), IdOf(fields[3])};
    return found.has_value();
  });
  return found;
}

std::optional<uint32_t> FindGroup(std::string_view group, std::string_view wanted, MatchBy by) {
  std::optional<uint32_t> found;
  ForEachLine(group, 3, [&, matches = Wanted(wanted, by)](const Fields& fields) {
    if (matches(fields)) found = IdOf(fields[2]);
    return found.has_value();
  });
  return found;
}

std::vector<uint32_t> GroupsListing(std::string_view group, std::string_view user) {
  std::vector<uint32_t> ids;
  ForEachLine(group, 4, [&](const Fields& fields) {
    if (Contains(Split(fields[3], ','), user)) ids.push_back(IdOf(fields[2]));
    return false;
  });
  return ids;
}

}  // namespace kiln::executor
