#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// Expansion of variables and removal of quotes in the words of an instruction.
namespace kiln::dockerfile {

// nullopt: the variable is not set.
using VariableLookup = std::function<std::optional<std::string_view>(std::string_view)>;

inline constexpr std::size_t kMaxExpansionBytes = 1 << 20;
inline constexpr int kMaxExpansionDepth = 64;

struct ExpandOptions {
  char escape = '\\';
  bool keep_quotes = false;     // quotes stay in the text
  bool keep_escapes = false;    // escape characters stay in the text
  bool keep_unset = false;      // `$X` stays as written if X is not set
  bool literal_quotes = false;  // quotes are ordinary characters (heredoc bodies)
  std::size_t max_bytes = kMaxExpansionBytes;
};

// For the patterns of files: their escapes are their own.
ExpandOptions PatternOptions();

struct Expanded {
  std::string text;
  std::vector<std::string> words;  // the same split at blanks outside quotes
  std::set<std::string, std::less<>> used;
  std::set<std::string, std::less<>> missing;
};

// Errors are wrapped `failed to process "…"`. Bounded in depth, size and work.
Result<Expanded> Expand(std::string_view text, const VariableLookup& lookup,
                        const ExpandOptions& options);

}  // namespace kiln::dockerfile
