#include <dirent.h>
#include <fcntl.h>

#include <cerrno>

#include "sys/rooted_path.h"
#include "sys/syscalls.h"

namespace kiln::sys {
namespace {

// Descriptors a walk keeps. Directories further up are opened again from below.
constexpr size_t kMaxOpen = 128;

struct Level {
  Fd dir;  // invalid further up
  dev_t device = 0;
  ino_t inode = 0;
  std::vector<DirEntry> entries;
  size_t next = 0;
  size_t path_length = 0;  // of the directory's own path
};

class Walker {
 public:
  Walker(const WalkVisitor& visit, const WalkOptions& options) : visit_(visit), options_(options) {}

  Status Run(Fd start) {
    TRY_ASSIGN(FileInfo info, StatFd(start.get()));
    std::string no_name;
    TRY_ASSIGN(WalkNext next,
               visit_({.path = path_, .dir = start.get(), .name = no_name, .info = info}));
    if (next != WalkNext::kContinue || !info.IsDirectory()) return OkStatus();
    TRY_ASSIGN(Fd readable, OpenDirAt(start.get(), "."));
    TRY(Push(std::move(readable), info));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      path_.resize(level.path_length);
      if (level.next == level.entries.size()) {
        TRY(Pop());
        continue;
      }
      TRY_ASSIGN(bool go_on, Visit(level.dir.get(), level.entries[level.next++]));
      if (!go_on) break;
    }
    return OkStatus();
  }

 private:
  Status Push(Fd dir, const FileInfo& info) {
    if (levels_.size() >= options_.max_depth)
      return FailedPrecondition("{}: more than {} levels deep", path_, options_.max_depth);
    Level level{
        .dir = std::move(dir), .device = info.dev, .inode = info.ino, .path_length = path_.size()};
    TRY_ASSIGN_CTX(level.entries, ReadDir(level.dir.get()), "{}", path_);
    if (levels_.size() >= kMaxOpen) levels_[levels_.size() - kMaxOpen].dir.Reset();
    levels_.push_back(std::move(level));
    return OkStatus();
  }

  // Back to the directory above, which must be the one we came from.
  Status Pop() {
    const Fd below = std::move(levels_.back().dir);
    levels_.pop_back();
    if (levels_.empty() || levels_.back().dir) return OkStatus();
    Level& level = levels_.back();
    level.dir = Fd(openat(below.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!level.dir) return ErrnoError(errno, "open the directory above {}", path_);
    TRY_ASSIGN(const FileInfo info, StatFd(level.dir.get()));
    if (info.dev != level.device || info.ino != level.inode)
      return Aborted("{}: its directory was moved while it was read", path_);
    return OkStatus();
  }

  // False: stop.
  Result<bool> Visit(int dir, const DirEntry& entry) {
    const bool other = entry.type != DT_DIR && entry.type != DT_UNKNOWN;
    if (options_.directories_only && other) return true;
    const std::string& name = entry.name;
    auto info = StatAt(dir, name);
    if (!info.ok()) {
      if (info.error().code() == Code::kNotFound) return true;
      return std::move(info).error();
    }
    if (options_.directories_only && !info->IsDirectory()) return true;
    if (!path_.empty()) path_ += '/';
    path_ += name;
    TRY_ASSIGN(WalkNext next, visit_({.path = path_, .dir = dir, .name = name, .info = *info}));
    if (next == WalkNext::kStop) return false;
    if (next == WalkNext::kSkipDirectory || !info->IsDirectory()) return true;
    return Enter(dir, name);
  }

  Result<bool> Enter(int dir, const std::string& name) {
    const int child = OpenAt2(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
                              RESOLVE_NO_SYMLINKS | (options_.cross_mounts ? 0 : RESOLVE_NO_XDEV));
    if (child < 0) {
      if (errno == EXDEV || errno == ENOENT) return true;
      return ErrnoError(errno, "open directory {}", path_);
    }
    Fd opened(child);
    // Of what was opened: another directory may stand there by now.
    TRY_ASSIGN(const FileInfo info, StatFd(opened.get()));
    TRY(Push(std::move(opened), info));
    return true;
  }

  const WalkVisitor& visit_;
  const WalkOptions& options_;
  std::string path_;
  std::vector<Level> levels_;
};

}  // namespace

Status Walk(const RootedPath& root, std::string_view start, const WalkVisitor& visit,
            const WalkOptions& options) {
  TRY_ASSIGN(Fd fd, root.OpenPath(start, Follow::kNo));
  return Walker(visit, options).Run(std::move(fd));
}

}  // namespace kiln::sys
