#pragma once

// Inside store only.

#include <string>
#include <string_view>

namespace kiln::store {

// As many links as one path may lead through.
inline constexpr int kMaxLinks = 255;

// A path of a layer ("a/b", "" for its root) and one step further.
inline std::string PathInLayer(const std::string& dir, std::string_view name) {
  std::string path;
  path.reserve(dir.size() + 1 + name.size());
  if (!dir.empty()) path.append(dir).append("/");
  return path.append(name);
}

// An absolute path ("/" for the root) and one step further.
inline std::string ChildPath(const std::string& dir, std::string_view name) {
  std::string path;
  path.reserve(dir.size() + 1 + name.size());
  if (dir != "/") path.append(dir);
  return path.append("/").append(name);
}

}  // namespace kiln::store
