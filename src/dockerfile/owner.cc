#include "dockerfile/owner.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::dockerfile {
namespace {

Result<llb::User> ParseUser(std::string_view text, std::string_view whole) {
  if (text == "root") return llb::User(std::uint32_t{0});
  const bool number = !text.empty() && std::all_of(text.begin(), text.end(),
                                                   [](char c) { return c >= '0' && c <= '9'; });
  if (!number) {
    if (text.empty()) return Unknown("invalid chown argument {}", Quoted(whole));
    return llb::User(std::string(text));
  }
  const auto id = ParseUint(text);
  if (!id || *id > 0xffffffffU) return Unknown("invalid chown argument {}", Quoted(whole));
  return llb::User(static_cast<std::uint32_t>(*id));
}

// [ugoa…](+|-|=)[rwxXst…|u|g|o] any number of times, separated by commas.
bool IsSymbolic(std::string_view text) {
  if (text.empty()) return false;
  for (std::string_view clause : Split(text, ',')) {
    const auto in = [&](std::string_view set) {
      return !clause.empty() && set.find(clause.front()) != std::string_view::npos;
    };
    while (in("ugoa")) clause.remove_prefix(1);
    if (clause.empty()) return false;
    while (!clause.empty()) {
      if (!in("+-=")) return false;
      clause.remove_prefix(1);
      if (in("ugo")) {
        clause.remove_prefix(1);
      } else {
        while (in("rwxXst")) clause.remove_prefix(1);
      }
    }
  }
  return true;
}

}  // namespace

Result<llb::Owner> ParseOwner(std::string_view text) {
  llb::Owner owner;
  const auto cut = Cut(text, ":");
  if (cut && cut->first.empty()) {
    owner.user = llb::User(std::uint32_t{0});
  } else {
    TRY_ASSIGN(owner.user, ParseUser(cut ? cut->first : text, text));
  }
  if (cut && !cut->second.empty()) {
    TRY_ASSIGN(owner.group, ParseUser(cut->second, text));
  }
  return owner;
}

Status SetMode(std::string_view text, llb::CopyAction& action) {
  const auto octal = ParseUint(text, 8);
  if (octal && *octal <= 07777) {
    action.mode = static_cast<std::int32_t>(*octal);
    return OkStatus();
  }
  if (!octal && IsSymbolic(text)) {
    action.mode_str = text;
    return OkStatus();
  }
  // Only what looks like a number is told what numbers there are.
  if (text.empty() || text[0] < '0' || text[0] > '9') return Unknown("invalid syntax");
  return Unknown("invalid chmod parameter: '{}'. it should be octal string and between 0 and 07777",
                 text);
}

}  // namespace kiln::dockerfile
