#include "store/testing/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/strings.h"

namespace kiln::store {
namespace {

constexpr int64_t kTime = 1'767'225'600'500'000'000;

std::string Line(const std::string& path, mode_t mode, uint32_t uid, uint64_t size,
                 const std::string& link) {
  const bool sized = S_ISREG(mode);
  return fmt::format("{} {:o}:{}:{}:{}\n", path, mode, uid, sized ? size : 0, link);
}

}  // namespace

void SetMtime(const std::string& path, int64_t nanos) {
  const timespec times[2] = {{nanos / 1'000'000'000, nanos % 1'000'000'000},
                             {nanos / 1'000'000'000, nanos % 1'000'000'000}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
}

void MakeDirectory(const std::string& path, mode_t mode) {
  ASSERT_EQ(mkdir(path.c_str(), mode), 0) << path;
  ASSERT_EQ(chmod(path.c_str(), mode), 0) << path;
}

void MakeFile(const std::string& path, std::string_view data, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, mode);
  ASSERT_GE(fd, 0) << path;
  const Fd owned(fd);
  ASSERT_TRUE(WriteAll(fd, data).ok());
  ASSERT_EQ(fchmod(fd, mode), 0);
  SetMtime(path, kTime);
}

void MakeLink(const std::string& target, const std::string& path) {
  ASSERT_EQ(symlink(target.c_str(), path.c_str()), 0) << path;
  SetMtime(path, kTime);
}

void MakeWhiteout(const std::string& path) {
  ASSERT_EQ(mknod(path.c_str(), S_IFCHR, 0), 0) << path;
}

void MakeOpaque(const std::string& directory) {
  ASSERT_EQ(setxattr(directory.c_str(), "trusted.overlay.opaque", "y", 1, 0), 0) << directory;
}

std::string Listing(const TreeView& view) {
  std::string lines;
  const TreeEntry root = Must(view.Root());
  Must(view.Walk(root, [&](const TreeEntry& entry) -> Result<bool> {
    const TreeNode& node = *entry.node;
    lines += Line(entry.path, node.mode, node.uid, node.size, node.link_target);
    return true;
  }));
  return lines;
}

std::string Listing(const std::string& directory) {
  const sys::RootedPath root = Must(sys::RootedPath::Open(directory));
  return Listing(TreeView({std::make_shared<LayerTree>(root)}));
}

SnapshotRef CommitFiles(Store& store, const SnapshotRef& parent,
                        const std::vector<std::pair<std::string, std::string>>& files,
                        const std::vector<std::string>& removed) {
  ActiveSnapshot active = Must(store.Prepare(progress::Activity(), parent));
  LayerWriter writer = Must(active.Writer());
  NodeMeta dir;
  dir.mode = 0755;
  dir.mtime = FromUnixNanos(kTime);
  NodeMeta file = dir;
  file.mode = 0644;
  for (const std::string& path : removed) Must(writer.RemoveTree(path));
  std::vector<std::string> made;
  for (const auto& [path, data] : files) {
    for (std::string& one : Must(writer.MakeDirs(DirName(path), dir)))
      made.push_back(std::move(one));
    Must(writer.WriteFile(path, data, file));
  }
  // What came into a new directory changed its time; the next equal layer may be made a second
  // later.
  for (const std::string& path : made) Must(writer.SetMeta(path, dir));
  return Must(store.Commit(std::move(active), CommitOptions()));
}

}  // namespace kiln::store
