#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::executor {

// The text of /etc/passwd and /etc/group of an image: passwd(5), group(5). Lines with too few
// fields are passed over, ids that are no numbers are 0, and the first line that matches counts.

inline constexpr std::size_t kMaxUserFileBytes = 10 << 20;

struct PasswdEntry {
  std::string name;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

enum class MatchBy { kName, kNameOrId };

// An empty name is nobody's.
std::optional<PasswdEntry> FindUser(std::string_view passwd, std::string_view wanted, MatchBy by);
// Its id.
std::optional<uint32_t> FindGroup(std::string_view group, std::string_view wanted, MatchBy by);
// The ids of the groups that list the user as a member.
std::vector<uint32_t> GroupsListing(std::string_view group, std::string_view user);

}  // namespace kiln::executor
