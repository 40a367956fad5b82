#include "ops/symbolic_mode.h"

#include <sys/stat.h>

#include "base/strings.h"

namespace kiln::ops {
namespace {

constexpr mode_t kUser = S_ISUID | S_IRWXU;
constexpr mode_t kGroup = S_ISGID | S_IRWXG;
constexpr mode_t kOther = S_IRWXO;
constexpr mode_t kAll = kUser | kGroup | kOther;
constexpr mode_t kExecute = S_IXUSR | S_IXGRP | S_IXOTH;

bool IsOperator(char c) { return c == '+' || c == '-' || c == '='; }

// The three bits of one class, in every class.
mode_t Spread(mode_t mode, char from) {
  mode_t three = (from == 'u' ? mode >> 6 : from == 'g' ? mode >> 3 : mode) & 7;
  return three << 6 | three << 3 | three;
}

}  // namespace

mode_t SymbolicMode::ParseWho(std::string_view clause, size_t& at) {
  mode_t who = 0;
  for (; at < clause.size(); ++at) {
    switch (clause[at]) {
      case 'u':
        who |= kUser;
        break;
      case 'g':
        who |= kGroup;
        break;
      case 'o':
        who |= kOther;
        break;
      case 'a':
        who |= kAll;
        break;
      default:
        return who;
    }
  }
  return who;
}

void SymbolicMode::ParsePermissions(std::string_view clause, size_t& at, bool who_given,
                                    Change& change) {
  bool special =
      !who_given || (change.who & ~kOther) != 0;  // s and t mean nothing for others alone
  for (; at < clause.size() && !IsOperator(clause[at]); ++at) {
    switch (clause[at]) {
      case 'r':
        change.bits |= S_IRUSR | S_IRGRP | S_IROTH;
        break;
      case 'w':
        change.bits |= S_IWUSR | S_IWGRP | S_IWOTH;
        break;
      case 'x':
        change.bits |= kExecute;
        break;
      case 'X':
        change.if_execute = true;
        break;
      case 's':
        if (special) change.bits |= S_ISUID | S_ISGID;
        break;
      case 't':
        if (special) {
          change.who |= S_ISVTX;
          change.bits |= S_ISVTX;
        }
        break;
      default:
        return;
    }
  }
}

Result<SymbolicMode> SymbolicMode::Parse(std::string_view text) {
  SymbolicMode result;
  auto bad = [&] { return InvalidArgument("invalid mode {}: invalid syntax", Quoted(text)); };
  if (text.empty() || text.size() > 256) return bad();
  if (text[0] >= '0' && text[0] <= '9') {
    auto mode = ParseUint(text, 8);
    if (!mode || *mode > 07777) return bad();
    result.changes_.push_back({.op = '=', .who = 07777, .bits = static_cast<mode_t>(*mode)});
    return result;
  }
  for (std::string_view clause : Split(text, ',')) {
    size_t at = 0;
    mode_t who = ParseWho(clause, at);
    if (at == clause.size()) return bad();
    while (at < clause.size()) {
      if (!IsOperator(clause[at])) return bad();
      Change change{.op = clause[at++], .who = who == 0 ? kAll : who};
      if (at < clause.size() && (clause[at] == 'u' || clause[at] == 'g' || clause[at] == 'o')) {
        change.copy_from = clause[at++];
      } else {
        ParsePermissions(clause, at, who != 0, change);
      }
      result.changes_.push_back(change);
    }
  }
  return result;
}

mode_t SymbolicMode::Apply(mode_t mode) const {
  mode_t result = mode & 07777;
  const bool executable = S_ISDIR(mode) || (mode & kExecute) != 0;
  for (const Change& change : changes_) {
    mode_t bits = change.bits;
    mode_t who = change.who;
    if (change.copy_from != 0) {
      bits = Spread(result, change.copy_from);
      who &= S_IRWXU | S_IRWXG | S_IRWXO;
    }
    if (change.if_execute && executable) bits |= kExecute;
    bits &= who;
    if (change.op == '=') result &= ~who;
    if (change.op == '-') {
      result &= ~bits;
    } else {
      result |= bits;
    }
  }
  return result;
}

}  // namespace kiln::ops
