#include "dockerfile/suggest.h"

#include <cstddef>

#include "base/strings.h"

namespace kiln::dockerfile {

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kMaxWord = 128;
  if (word.empty() || word.size() > kMaxWord) return "";
  std::vector<std::string> lower;
  lower.reserve(candidates.size());
  for (const auto& candidate : candidates) lower.push_back(ToLower(candidate));
  const std::string nearest = NearestName(ToLower(word), lower);
  if (nearest.empty()) return "";
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (lower[i] == nearest && candidates[i] != word) {
      return " (did you mean " + candidates[i] + "?)";
    }
  }
  return "";
}

}  // namespace kiln::dockerfile
