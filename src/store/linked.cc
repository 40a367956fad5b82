#include "store/linked.h"

#include "base/fd.h"
#include "base/strings.h"
#include "sys/file_info.h"
#include "sys/rooted_path.h"

namespace kiln::store {
namespace {

template <typename IsLinked>
Result<MeasuredTree> Measure(const std::string& directory, const IsLinked& is_linked) {
  TRY_ASSIGN(const sys::RootedPath root, sys::RootedPath::Open(directory));
  MeasuredTree tree;
  std::unordered_set<uint64_t> seen;
  const sys::WalkVisitor measure = [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
    const uint64_t bytes = entry.info.blocks * 512;
    const bool listed = !entry.info.IsDirectory() && is_linked(entry.info);
    if (!listed && (entry.info.IsDirectory() || entry.info.nlink == 1)) {
      tree.bytes += bytes;
    } else if (seen.insert(entry.info.ino).second) {
      if (listed) {
        tree.linked.push_back({entry.info.ino, bytes});
      } else {
        tree.bytes += bytes;
      }
    }
    return sys::WalkNext::kContinue;
  };
  TRY(sys::Walk(root, "", measure, {.max_depth = sys::kAnyDepth}));
  return tree;
}

}  // namespace

Result<MeasuredTree> MeasureLayer(const std::string& directory,
                                  const std::unordered_set<uint64_t>& linked) {
  return Measure(directory, [&](const sys::FileInfo& info) { return linked.contains(info.ino); });
}

Result<MeasuredTree> MeasureShared(const std::string& directory) {
  return Measure(directory, [](const sys::FileInfo& info) { return info.nlink > 1; });
}

Status WriteLinked(const std::string& path, const std::vector<LinkedFile>& linked) {
  std::string text;
  for (const LinkedFile& file : linked)
    fmt::format_to(std::back_inserter(text), "{} {}\n", file.inode, file.bytes);
  return WriteFileAtomically(path, text, 0600);
}

Result<std::vector<LinkedFile>> ReadLinked(const std::string& path) {
  TRY_ASSIGN(const std::string text, ReadFile(path, size_t{1} << 30));
  std::vector<LinkedFile> linked;
  for (const std::string_view line : Split(text, '\n')) {
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    const auto inode = ParseUint(line.substr(0, space));
    const auto bytes = space == line.npos ? std::nullopt : ParseUint(line.substr(space + 1));
    if (!inode || !bytes) return DataLoss("{}: damaged", path);
    linked.push_back({*inode, *bytes});
  }
  return linked;
}

uint64_t LinkedOwners::Add(const std::vector<LinkedFile>& linked) {
  uint64_t bytes = 0;
  for (const LinkedFile& file : linked) {
    if (++holders_[file.inode] == 1) bytes += file.bytes;
  }
  return bytes;
}

uint64_t LinkedOwners::Remove(const std::vector<LinkedFile>& linked) {
  uint64_t bytes = 0;
  for (const LinkedFile& file : linked) {
    const auto found = holders_.find(file.inode);
    if (found == holders_.end() || --found->second > 0) continue;
    bytes += file.bytes;
    holders_.erase(found);
  }
  return bytes;
}

}  // namespace kiln::store
