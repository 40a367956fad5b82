#include "dockerfile/suggest.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/strings.h"
#include "dockerfile/shell_pattern.h"

namespace kiln::dockerfile {
namespace {

constexpr std::size_t kMaxEdits = 2;

// Those that BuildKit knows, and more.
constexpr const char* kWellKnownImages[] = {"alpine", "busybox", "centos", "debian",
                                            "golang", "ubuntu",  "fedora"};
constexpr const char* kMoreImages[] = {"docker", "httpd",    "mariadb", "mysql", "nginx", "node",
                                       "php",    "postgres", "python",  "redis", "ruby",  "rust"};

// Insertions, deletions and replacements between two words; anything above kMaxEdits if there are
// many more.
std::size_t Distance(std::u32string_view a, std::u32string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > kMaxEdits) return kMaxEdits + 1;
  std::vector<std::size_t> row(a.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t j = 0; j < b.size(); ++j) {
    std::size_t diagonal = std::exchange(row[0], j + 1);
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[i + 1];
      row[i + 1] = std::min({replaced, row[i] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// Of characters, not of bytes.
std::size_t Distance(std::string_view a, std::string_view b) {
  return Distance(DecodeCharacters(a), DecodeCharacters(b));
}

}  // namespace

std::string NearestVariable(std::string_view word, const std::vector<std::string>& names) {
  std::string nearest;
  std::size_t least = kMaxEdits + 1;
  for (const std::string& name : names) {
    const std::size_t edits = Distance(word, name);
    if (edits == 0) return "";
    if (edits >= least) continue;
    least = edits;
    nearest = name;
  }
  return nearest;
}

Error WithNearestTree(Error error, std::string_view name, std::vector<std::string> stages) {
  for (const std::string image : kWellKnownImages) {
    for (const char* tag : {"", ":latest"}) {
      stages.push_back(image + tag);
      stages.push_back("docker.io/library" + image + tag);  // the slash is missing in BuildKit too
    }
  }
  std::string nearest = NearestVariable(name, stages);
  if (nearest.empty() && std::find(stages.begin(), stages.end(), name) == stages.end()) {
    nearest = NearestVariable(name, {std::begin(kMoreImages), std::end(kMoreImages)});
  }
  if (nearest.empty()) return error;
  Error out(error.code(), error.message() + " (did you mean " + nearest + "?)");
  for (const std::string& context : error.contexts()) out.AddContext(context);
  for (const ErrorDetail& detail : error.details()) out.AddDetail(detail);
  return out;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kMaxWord = 128;
  if (word.empty() || word.size() > kMaxWord) return "";
  const std::string lower = ToLower(word);
  const std::string* nearest = nullptr;
  std::size_t least = kMaxEdits + 1;
  for (const std::string& candidate : candidates) {
    if (candidate == word) continue;
    const std::string other = ToLower(candidate);
    const std::size_t edits = Distance(lower, other);
    if (edits >= least) continue;
    least = edits;
    nearest = &candidate;
  }
  return nearest == nullptr ? "" : " (did you mean " + *nearest + "?)";
}

}  // namespace kiln::dockerfile
