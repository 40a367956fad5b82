#include "cmd/nearest_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/strings.h"
#include "dockerfile/suggest.h"

namespace kiln::cmd {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxNames = 10000;

// The path that `failed to calculate checksum of ref X: "/PATH": not found` is about.
std::string MissingPath(std::string_view text) {
  constexpr std::string_view kBegin = "failed to calculate checksum of ref ";
  constexpr std::string_view kEnd = "\": not found";
  const auto begin = text.rfind(kBegin);
  if (begin == std::string_view::npos) return "";
  std::string_view rest = text.substr(begin);
  const auto quote = rest.find("\"/");
  const auto end = rest.rfind(kEnd);
  if (quote == std::string_view::npos || end == std::string_view::npos || end < quote + 2)
    return "";
  return std::string(rest.substr(quote + 2, end - quote - 2));
}

// Of another tree than the context.
bool IsFromElsewhere(std::string_view text) {
  const auto lines = Split(text, '\n');
  return std::any_of(lines.begin(), lines.end(), [](std::string_view line) {
    return line.find(" >>> ") != std::string_view::npos &&
           line.find("from=") != std::string_view::npos;
  });
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end;
       !error && at != end && names.size() < kMaxNames; at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::string NearestFileHint(const std::string& context, std::string_view text) {
  const std::string missing = MissingPath(text);
  if (missing.empty() || IsFromElsewhere(text)) return "";
  std::string known;  // what there is of it, ending in a slash
  const auto parts = Split(missing, '/');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) return "";
    const std::string path = known + std::string(parts[i]);
    if (Exists(fs::path(context) / path)) {
      known = path + "/";
      continue;
    }
    std::string rest;
    for (std::size_t k = i + 1; k < parts.size(); ++k) rest += "/" + std::string(parts[k]);
    std::vector<std::string> candidates;
    for (const std::string& name : NamesIn(fs::path(context) / known)) {
      if (rest.empty() || Exists(fs::path(context) / (known + name + rest))) {
        candidates.push_back(known + name + rest);
      }
    }
    const std::string nearest = dockerfile::DidYouMean(missing, candidates);
    if (nearest.empty()) return "";
    return fmt::format("The build context has no {}{}\n", missing, nearest);
  }
  return "";
}

}  // namespace kiln::cmd
