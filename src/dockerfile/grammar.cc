#include "dockerfile/grammar.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/strings.h"
#include "dockerfile/words.h"

namespace kiln::dockerfile {
namespace {

constexpr std::array<std::string_view, 8> kMayBeJson = {"ADD",   "CMD", "COPY",   "ENTRYPOINT",
                                                        "SHELL", "RUN", "VOLUME", "HEALTHCHECK"};

Status CheckPairs(const SplitInstruction& split, char escape) {
  const auto words = QuotedWords(split.rest, escape);
  if (words.empty()) return OkStatus();
  if (words[0].find('=') == std::string::npos) {
    if (split.rest.find_first_of(" \t\v\f\r") == std::string::npos) {
      return Unknown("{} must have two arguments", split.keyword);
    }
    return OkStatus();
  }
  for (const auto& word : words) {
    if (word.find('=') == std::string::npos) {
      return Unknown("Syntax error - can't find = in {}. Must be of the form: name=value",
                     Quoted(word, word.size() + 1));
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckGrammar(std::string_view text, char escape) {
  SplitInstruction split = SplitLogicalLine(text, escape);
  if (split.keyword == "ONBUILD") return CheckGrammar(split.rest, escape);
  if (split.keyword == "ENV" || split.keyword == "LABEL") return CheckPairs(split, escape);
  if (std::find(kMayBeJson.begin(), kMayBeJson.end(), split.keyword) == kMayBeJson.end()) {
    return OkStatus();
  }
  std::string_view rest = split.rest;
  if (split.keyword == "HEALTHCHECK") rest.remove_prefix(std::min(rest.find(' '), rest.size()));
  TRY(ParseJsonStrings(rest));
  return OkStatus();
}

}  // namespace kiln::dockerfile
