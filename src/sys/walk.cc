#include <fcntl.h>

#include <cerrno>

#include "sys/rooted_path.h"
#include "sys/syscalls.h"

namespace kiln::sys {
namespace {

constexpr size_t kMaxDepth = 4000;

struct Level {
  Fd dir;
  std::vector<DirEntry> entries;
  size_t next = 0;
  size_t path_length = 0;  // of the directory's own path
};

class Walker {
 public:
  Walker(const WalkVisitor& visit, bool cross_mounts)
      : visit_(visit), cross_mounts_(cross_mounts) {}

  Status Run(Fd start) {
    TRY_ASSIGN(FileInfo info, StatFd(start.get()));
    std::string no_name;
    TRY_ASSIGN(WalkNext next,
               visit_({.path = path_, .dir = start.get(), .name = no_name, .info = info}));
    if (next != WalkNext::kContinue || !info.IsDirectory()) return OkStatus();
    TRY_ASSIGN(Fd readable, OpenDirAt(start.get(), "."));
    TRY(Push(std::move(readable)));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      path_.resize(level.path_length);
      if (level.next == level.entries.size()) {
        levels_.pop_back();
        continue;
      }
      TRY_ASSIGN(bool go_on, Visit(level.dir.get(), level.entries[level.next++].name));
      if (!go_on) break;
    }
    return OkStatus();
  }

 private:
  Status Push(Fd dir) {
    if (levels_.size() >= kMaxDepth)
      return FailedPrecondition("{}: more than {} levels deep", path_, kMaxDepth);
    Level level{.dir = std::move(dir), .path_length = path_.size()};
    TRY_ASSIGN_CTX(level.entries, ReadDir(level.dir.get()), "{}", path_);
    levels_.push_back(std::move(level));
    return OkStatus();
  }

  // False: stop.
  Result<bool> Visit(int dir, const std::string& name) {
    auto info = StatAt(dir, name);
    if (!info.ok()) {
      if (info.error().code() == Code::kNotFound) return true;
      return std::move(info).error();
    }
    if (!path_.empty()) path_ += '/';
    path_ += name;
    TRY_ASSIGN(WalkNext next, visit_({.path = path_, .dir = dir, .name = name, .info = *info}));
    if (next == WalkNext::kStop) return false;
    if (next == WalkNext::kSkipDirectory || !info->IsDirectory()) return true;
    int child = OpenAt2(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
                        RESOLVE_NO_SYMLINKS | (cross_mounts_ ? 0 : RESOLVE_NO_XDEV));
    if (child < 0) {
      if (errno == EXDEV || errno == ENOENT) return true;
      return ErrnoError(errno, "open directory {}", path_);
    }
    TRY(Push(Fd(child)));
    return true;
  }

  const WalkVisitor& visit_;
  const bool cross_mounts_;
  std::string path_;
  std::vector<Level> levels_;
};

}  // namespace

Status Walk(const RootedPath& root, std::string_view start, const WalkVisitor& visit,
            bool cross_mounts) {
  TRY_ASSIGN(Fd fd, root.OpenPath(start, Follow::kNo));
  return Walker(visit, cross_mounts).Run(std::move(fd));
}

}  // namespace kiln::sys
