#include "dockerfile/expand.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/strings.h"
#include "dockerfile/shell_pattern.h"
#include "dockerfile/unicode_blanks.h"

namespace kiln::dockerfile {
namespace {

bool IsDigit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool IsNameChar(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// The words of a text under construction, if they are wanted.
class Words {
 public:
  explicit Words(bool wanted) : wanted_(wanted) {}

  // Blanks end the current word.
  void Split(std::string_view text) {
    while (wanted_ && !text.empty()) {
      const std::size_t blank = BlankAt(text);
      if (blank > 0) {
        Flush();
      } else {
        word_ += text.front();
      }
      text.remove_prefix(std::max<std::size_t>(blank, 1));
    }
  }
  void Keep(std::string_view text) {
    if (wanted_) word_ += text;
  }
  std::vector<std::string> Take() {
    Flush();
    return std::move(words_);
  }

 private:
  void Flush() {
    if (!word_.empty()) words_.push_back(std::move(word_));
    word_.clear();
  }

  const bool wanted_;
  std::string word_;
  std::vector<std::string> words_;
};

// What becomes of escape characters: kept for a pattern, those in quotes are doubled, so that they
// are literal there.
enum class Escapes { kRemoved, kKept, kPattern };

class Expansion {
 public:
  Expansion(std::string_view text, const VariableLookup& lookup, const ExpandOptions& options)
      : text_(text), lookup_(lookup), options_(options) {}

  Result<Expanded> Run() {
    Words words(!options_.literal_quotes);
    const Escapes escapes = options_.keep_escapes ? Escapes::kKept : Escapes::kRemoved;
    TRY_ASSIGN(out_.text, Until(0, escapes, &words));
    out_.words = words.Take();
    return std::move(out_);
  }

 private:
  bool AtEnd() const { return at_ >= text_.size(); }
  char Peek() const { return AtEnd() ? '\0' : text_[at_]; }
  bool Take(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // Everything up to `stop`, which is taken; 0 means the end of the text.
  Result<std::string> Until(char stop, Escapes escapes, Words* words) {
    if (++depth_ > kMaxExpansionDepth) return Unknown("substitutions are nested too deeply");
    std::string result;
    Words unused(false);
    Words& sink = words != nullptr ? *words : unused;
    while (!AtEnd()) {
      if (stop != 0 && Take(stop)) {
        --depth_;
        return result;
      }
      TRY(Piece(escapes, result, sink));
      if (result.size() > options_.max_bytes) return Unknown("the text becomes too long");
    }
    if (stop != 0) {
      return Unknown("unexpected end of statement while looking for matching {}", stop);
    }
    --depth_;
    return result;
  }

  // One character, quoted part or substitution.
  Status Piece(Escapes escapes, std::string& result, Words& words) {
    const char c = text_[at_];
    if (c == '$') {
      TRY_ASSIGN(const std::string value, Dollar());
      result += value;
      words.Split(value);
      return OkStatus();
    }
    if (!options_.literal_quotes && (c == '\'' || c == '"')) {
      TRY_ASSIGN(const std::string value, c == '"' ? DoubleQuoted(escapes) : SingleQuoted(escapes));
      result += value;
      words.Keep(value);
      return OkStatus();
    }
    if (c != options_.escape) {
      const std::string_view plain = PlainText();
      result += plain;
      words.Split(plain);
      return OkStatus();
    }
    ++at_;
    std::string kept;
    if (escapes != Escapes::kRemoved) kept += c;
    if (!AtEnd()) kept += text_[at_++];
    result += kept;
    words.Keep(kept);
    return OkStatus();
  }

  // Takes one character, and those behind it that mean nothing, not even an end.
  std::string_view PlainText() {
    constexpr std::string_view kSpecial = "$'\"}/";
    const std::size_t begin = at_;
    do {
      ++at_;
    } while (!AtEnd() && text_[at_] != options_.escape &&
             kSpecial.find(text_[at_]) == std::string_view::npos);
    return text_.substr(begin, at_ - begin);
  }

  Result<std::string> SingleQuoted(Escapes escapes) {
    const auto end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) {
      at_ = text_.size();
      return Unknown("unexpected end of statement while looking for matching single-quote");
    }
    std::string inner(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    const std::string escape(1, options_.escape);
    if (escapes == Escapes::kPattern) inner = ReplaceAll(inner, escape, escape + escape);
    return options_.keep_quotes ? fmt::format("'{}'", inner) : inner;
  }

  Result<std::string> DoubleQuoted(Escapes escapes) {
    std::string result;
    ++at_;
    if (options_.keep_quotes) result += '"';
    while (!AtEnd()) {
      const char c = text_[at_];
      if (c == '$') {
        TRY_ASSIGN(const std::string value, Dollar());
        result += value;
        continue;
      }
      ++at_;
      if (c == '"') {
        if (options_.keep_quotes) result += '"';
        return result;
      }
      if (c != options_.escape) {
        result += c;
        continue;
      }
      const char next = Peek();
      const bool special = !AtEnd() && (next == '"' || next == '$' || next == options_.escape);
      const bool kept = escapes != Escapes::kRemoved;
      if (kept || !special) result += c;
      // What is literal in quotes is so for who reads the text once more.
      if (!special && kept && (!options_.keep_quotes || escapes == Escapes::kPattern)) result += c;
      if (special) {
        result += next;
        ++at_;
      }
    }
    return Unknown("unexpected end of statement while looking for matching double-quote");
  }

  std::string Name() {
    const std::size_t begin = at_;
    if (AtEnd()) return "";
    if (IsDigit(text_[at_])) {
      while (IsDigit(Peek())) ++at_;
    } else if (std::string_view("@*#?-$!").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    } else {
      // Bytes beyond ASCII are taken for letters: they come in whole characters.
      while (IsNameChar(Peek()) || static_cast<unsigned char>(Peek()) >= 0x80) ++at_;
    }
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::optional<std::string> Get(const std::string& name) {
    const auto value = lookup_(name);
    if (!value) {
      out_.missing.insert(name);
      return std::nullopt;
    }
    out_.used.insert(name);
    return std::string(*value);
  }

  Result<std::string> Dollar() {
    ++at_;
    if (!Take('{')) {
      const std::string name = Name();
      if (name.empty()) return std::string("$");
      const auto value = Get(name);
      if (!value && options_.keep_unset) return "$" + name;
      return value.value_or("");
    }
    if (AtEnd()) return MissingBrace();
    if (Peek() == '{' || Peek() == '}' || Peek() == ':') {
      return Unknown("syntax error: bad substitution");
    }
    const std::string name = Name();
    if (AtEnd()) return Unsupported("", kEndOfText);
    const char op = text_[at_++];
    switch (op) {
      case '}': {
        const auto value = Get(name);
        if (!value && options_.keep_unset) return fmt::format("${{{}}}", name);
        return value.value_or("");
      }
      case ':':
        if (AtEnd()) return MissingBrace();
        return Default(name, text_[at_++], /*empty_is_unset=*/true);
      case '+':
      case '-':
      case '?':
        return Default(name, op, /*empty_is_unset=*/false);
      case '#':
      case '%':
        return Trimmed(name, op);
      case '/':
        return Replaced(name);
      default:
        return Unsupported("", CharacterAt(at_ - 1));
    }
  }

  static Error Unsupported(std::string_view colon, std::string_view modifier) {
    return Unknown("unsupported modifier ({}{}) in substitution", colon, modifier);
  }

  // The whole character that begins there.
  std::string_view CharacterAt(std::size_t begin) const {
    std::size_t end = begin + 1;
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0U) == 0x80U) ++end;
    return text_.substr(begin, end - begin);
  }

  // What BuildKit shows for it.
  static constexpr std::string_view kEndOfText = "\xEF\xBF\xBD";

  static Error MissingBrace() { return Unknown("syntax error: missing '}}'"); }

  // A word inside braces, up to `stop`. An end before it is a missing brace or slash.
  Result<std::string> Word(char stop, Escapes escapes) {
    Result<std::string> word = Until(stop, escapes, nullptr);
    if (word.ok() || !AtEnd() || word.error().message().starts_with("substitutions are nested") ||
        word.error().message().starts_with("the text becomes")) {
      return word;
    }
    if (stop == '/') return Unknown("syntax error: missing '/' in ${{}}");
    return MissingBrace();
  }

  Result<std::string> Default(const std::string& name, char op, bool empty_is_unset) {
    const std::string_view written = CharacterAt(at_ - 1);
    if (op == '#' || op == '%') return Unsupported(":", written);
    at_ += written.size() - 1;
    TRY_ASSIGN(std::string word, Word('}', Escapes::kRemoved));
    const auto value = Get(name);
    if (!value && options_.keep_unset) {
      return fmt::format("${{{}{}{}{}}}", name, empty_is_unset ? ":" : "", written, word);
    }
    if (op != '-' && op != '+' && op != '?') return Unsupported(":", written);
    const bool given = value && !(empty_is_unset && value->empty());
    if (op == '-') return given ? *value : word;
    if (op == '+') return given ? word : std::string();
    if (given) return *value;
    if (word.empty()) word = value ? "is not allowed to be empty" : "is not allowed to be unset";
    return Unknown("{}: {}", name, word);
  }

  Result<std::string> Trimmed(const std::string& name, char op) {
    TRY_ASSIGN(const std::string word, Word('}', Escapes::kPattern));
    const auto value = Get(name);
    if (!value && options_.keep_unset) return fmt::format("${{{}{}{}}}", name, op, word);
    const bool longest = word.starts_with(op);
    TRY_ASSIGN(const ShellPattern pattern, ShellPattern::Compile(word.substr(longest ? 1 : 0)));
    return op == '#' ? pattern.RemovePrefix(value.value_or(""), longest)
                     : pattern.RemoveSuffix(value.value_or(""), longest);
  }

  Result<std::string> Replaced(const std::string& name) {
    const bool all = Take('/');
    TRY_ASSIGN(const std::string word, Word('/', Escapes::kPattern));
    // Its escapes stay where they are.
    TRY_ASSIGN(const std::string with, Word('}', Escapes::kKept));
    const auto value = Get(name);
    if (!value && options_.keep_unset) {
      return fmt::format("${{{}/{}{}/{}}}", name, all ? "/" : "", word, with);
    }
    TRY_ASSIGN(const ShellPattern pattern, ShellPattern::Compile(word));
    return pattern.Replace(value.value_or(""), with, all);
  }

  std::string_view text_;
  const VariableLookup& lookup_;
  const ExpandOptions& options_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Expanded out_;
};

}  // namespace

ExpandOptions PatternOptions() {
  ExpandOptions options;
  options.keep_escapes = true;
  options.literal_quotes = true;
  return options;
}

Result<Expanded> Expand(std::string_view text, const VariableLookup& lookup,
                        const ExpandOptions& options) {
  Result<Expanded> expanded = Expansion(text, lookup, options).Run();
  if (!expanded.ok())
    expanded.error().AddContext(fmt::format("failed to process {}", Quoted(text)));
  return expanded;
}

}  // namespace kiln::dockerfile
