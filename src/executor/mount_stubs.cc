#include "executor/mount_stubs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"

namespace kiln::executor {
namespace {

bool IsBelow(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

// The nearest directory above `path` that exists.
Result<std::string> ExistingParent(const sys::RootedPath& root, std::string path) {
  for (;;) {
    path = DirName(path);
    TRY_ASSIGN(bool exists, root.Exists(path));
    if (exists || path == "/") return path;
  }
}

}  // namespace

Result<MountStubs> MountStubs::Make(sys::RootedPath root, std::vector<Point> points,
                                    bool recursive) {
  MountStubs stubs(std::move(root));
  for (const Point& point : points) {
    bool covered = std::any_of(points.begin(), points.end(), [&](const Point& other) {
      return IsBelow(point.target, other.target);
    });
    if (covered && !point.first) continue;
    if (auto made = stubs.MakeOne(point, recursive); !made.ok()) {
      (void)stubs.Remove().ok();
      return std::move(made.error().AddContext(fmt::format("mount point {}", point.target)));
    }
  }
  return stubs;
}

Status MountStubs::MakeOne(const Point& point, bool recursive) {
  TRY_ASSIGN(std::string path, root_.Resolve(point.target));
  if (path == "/") return OkStatus();
  TRY_ASSIGN(bool exists, root_.Exists(path));
  if (exists) return OkStatus();
  TRY_ASSIGN(std::string parent, ExistingParent(root_, path));
  TRY_ASSIGN(const Fd above, root_.OpenDir(parent));
  sys::KeepTimes times(above.get());
  TRY_ASSIGN(std::vector<std::string> directories,
             root_.MakeDirs(point.directory ? path : DirName(path)));
  if (point.directory) {
    directories.pop_back();
    if (point.mode != 0755) TRY(root_.Chmod(path, point.mode));
  }
  if (recursive) made_.insert(made_.end(), directories.begin(), directories.end());
  if (!point.directory) TRY(root_.OpenFile(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  made_.push_back(path);
  return times.Restore();
}

Status MountStubs::Remove() {
  std::vector<std::string> made = std::move(made_);
  for (auto path = made.rbegin(); path != made.rend(); ++path) {
    auto info = root_.Stat(*path);
    if (!info.ok()) continue;  // the process removed it, or a directory above
    if (!info->IsDirectory() && info->size != 0) continue;
    TRY_ASSIGN(const Fd above, root_.OpenDir(DirName(*path)));
    const sys::KeepTimes times(above.get());
    // Not empty: the process put something there, which is its right.
    (void)(info->IsDirectory() ? root_.RemoveDir(*path) : root_.Unlink(*path)).ok();
  }
  return OkStatus();
}

}  // namespace kiln::executor
