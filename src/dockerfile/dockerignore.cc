#include "dockerfile/dockerignore.h"

#include "base/strings.h"
#include "dockerfile/characters.h"

namespace kiln::dockerfile {

Result<std::vector<std::string>> ParseDockerignore(std::string_view data) {
  if (data.starts_with(kBom)) data.remove_prefix(kBom.size());
  std::vector<std::string> patterns;
  for (std::string_view line : Split(data, '\n')) {
    if (line.starts_with('#')) continue;
    line = Trim(line);
    if (line.empty()) continue;
    const bool negated = line.starts_with('!');
    if (negated) line = Trim(line.substr(1));
    if (line.empty()) return InvalidArgument("illegal exclusion pattern: \"!\"");
    std::string pattern = CleanPath(line);
    if (pattern.size() > 1 && pattern.starts_with('/')) pattern.erase(0, 1);
    patterns.push_back(negated ? "!" + pattern : std::move(pattern));
  }
  return patterns;
}

Result<std::optional<std::string>> ReadIgnoreFile(Host& host, const llb::Output& tree,
                                                  const std::string& path) {
  auto text = host.ReadIfShared(tree, path);  // whether the folder is needed shows later
  if (!text.ok() && text.error().message().ends_with("not a regular file"))
    return std::optional<std::string>();
  return text;
}

}  // namespace kiln::dockerfile
