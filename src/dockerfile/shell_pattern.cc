#include "dockerfile/shell_pattern.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/strings.h"

namespace kiln::dockerfile {
namespace {

constexpr std::size_t kMaxSteps = std::size_t{1} << 26;
constexpr std::size_t kMaxResultBytes = 1 << 20;
constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kRawByte = 0x110000;  // + byte: what is not UTF-8 stays as it is

}  // namespace

std::u32string DecodeCharacters(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0x80   ? 1
                             : lead < 0xC0 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                                           : 4;
    if (size <= 1 || i + size > text.size() || !IsValidUtf8(text.substr(i, size))) {
      out += lead < 0x80 ? char32_t{lead} : kRawByte + lead;
      ++i;
      continue;
    }
    char32_t character = lead & (0xFFU >> (size + 1));
    for (std::size_t k = 1; k < size; ++k) {
      character = (character << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
    }
    out += character;
    i += size;
  }
  return out;
}

namespace {

void AppendUtf8(char32_t c, std::string& out) {
  if (c >= kRawByte) {
    out += static_cast<char>(c - kRawByte);
  } else if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string Encode(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) AppendUtf8(c, out);
  return out;
}

}  // namespace

// Runs the pattern over text as a set of positions in it, so that no pattern backtracks.
class ShellPattern::Matcher {
 public:
  explicit Matcher(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // Where a match that begins at `from` ends; nullopt if there is none.
  Result<std::optional<std::size_t>> End(std::u32string_view text, std::size_t from, bool longest) {
    std::vector<char> now(tokens_.size() + 1, 0);
    std::vector<char> next(tokens_.size() + 1, 0);
    Enter(now, 0);
    std::optional<std::size_t> end;
    for (std::size_t at = from;; ++at) {
      if (now[tokens_.size()] != 0) {
        end = at;
        if (!longest) break;
      }
      if (at == text.size()) break;
      steps_ += tokens_.size() + 1;
      if (steps_ > kMaxSteps) return Unknown("substitution takes too long");
      std::fill(next.begin(), next.end(), 0);
      bool alive = false;
      for (std::size_t i = 0; i < tokens_.size(); ++i) {
        if (now[i] == 0 || !Accepts(tokens_[i], text[at])) continue;
        alive = true;
        Enter(next, tokens_[i].kind == Kind::kStar ? i : i + 1);
      }
      std::swap(now, next);
      if (!alive) break;
    }
    return end;
  }

 private:
  static bool Accepts(const Token& token, char32_t c) {
    return token.kind == Kind::kLiteral ? token.character == c : c != U'\n';
  }

  // A star may match nothing: being before it is being behind it.
  void Enter(std::vector<char>& states, std::size_t i) const {
    states[i] = 1;
    while (i < tokens_.size() && tokens_[i].kind == Kind::kStar) states[++i] = 1;
  }

  std::vector<Token> tokens_;
  std::size_t steps_ = 0;
};

Result<ShellPattern> ShellPattern::Compile(std::string_view pattern) {
  ShellPattern out;
  const std::u32string text = DecodeCharacters(pattern);
  for (std::size_t i = 0; i < text.size(); ++i) {
    char32_t c = text[i];
    if (c == U'*' || c == U'?') {
      const bool repeated =
          c == U'*' && !out.tokens_.empty() && out.tokens_.back().kind == Kind::kStar;
      if (!repeated) out.tokens_.push_back({c == U'*' ? Kind::kStar : Kind::kAny, 0});
      continue;
    }
    if (c == U'\\') {
      const char32_t escaped = i + 1 < text.size() ? text[++i] : 0;
      if (escaped == 0 ||
          std::u32string_view(U"*?\\}/").find(escaped) == std::u32string_view::npos) {
        std::string shown;
        AppendUtf8(escaped == 0 ? kReplacement : escaped, shown);
        return Unknown("invalid pattern ({}) in substitution: invalid escape '\\{}'", pattern,
                       shown);
      }
      c = escaped;
    }
    out.tokens_.push_back({Kind::kLiteral, c});
  }
  return out;
}

Result<std::string> ShellPattern::RemovePrefix(std::string_view value, bool longest) const {
  const std::u32string text = DecodeCharacters(value);
  TRY_ASSIGN(const auto end, Matcher(tokens_).End(text, 0, longest));
  return Encode(std::u32string_view(text).substr(end.value_or(0)));
}

Result<std::string> ShellPattern::RemoveSuffix(std::string_view value, bool longest) const {
  std::u32string text = DecodeCharacters(value);
  std::reverse(text.begin(), text.end());
  TRY_ASSIGN(const auto end, Matcher({tokens_.rbegin(), tokens_.rend()}).End(text, 0, longest));
  text.erase(0, end.value_or(0));
  std::reverse(text.begin(), text.end());
  return Encode(text);
}

Result<std::string> ShellPattern::Replace(std::string_view value, std::string_view with,
                                          bool all) const {
  const std::u32string text = DecodeCharacters(value);
  Matcher matcher(tokens_);
  std::string out;
  std::optional<std::size_t> last_end;
  // Nothing can be matched too, at the end as well, but not right behind another match.
  for (std::size_t at = 0; at <= text.size();) {
    TRY_ASSIGN(const auto end, matcher.End(text, at, /*longest=*/true));
    const bool nothing = end && *end == at;
    if (end && !(nothing && last_end == at)) {
      out += with;
      if (out.size() > kMaxResultBytes) return Unknown("substitution makes too long a text");
      if (!all) return out + Encode(std::u32string_view(text).substr(*end));
      last_end = end;
      at = *end;
      if (!nothing) continue;
    }
    if (at < text.size()) AppendUtf8(text[at], out);
    ++at;
  }
  return out;
}

}  // namespace kiln::dockerfile
