#include "filesync/follow_links.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <set>

#include "base/fd.h"
#include "base/glob.h"
#include "base/strings.h"
#include "sys/file_info.h"

namespace kiln::filesync {
namespace {

// Enough for any real folder; a bomb of links through wildcards ends here.
constexpr size_t kMaxSteps = 100'000;

std::string Relative(const std::string& path) {
  // Cleaning an absolute form clamps "..".
  const std::string clean = CleanPath("/" + path);
  return clean.substr(1);
}

class Follower {
 public:
  explicit Follower(int root) : root_(root) {}

  Result<std::vector<std::string>> Run(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) waiting_.push_back({"", Relative(path)});
    for (size_t steps = 0; !waiting_.empty(); ++steps) {
      if (steps > kMaxSteps) return InvalidArgument("too many symlinks to follow");
      const Step step = std::move(waiting_.front());
      waiting_.pop_front();
      TRY(Follow(step));
    }
    if (found_.contains("")) return std::vector<std::string>();
    return std::vector<std::string>(found_.begin(), found_.end());
  }

 private:
  struct Step {
    std::string done;  // free of links
    std::string rest;
  };

  Status Follow(const Step& step) {
    if (!seen_.insert(step.done + "\n" + step.rest).second) return OkStatus();
    if (step.rest.empty()) {
      found_.insert(step.done);
      return OkStatus();
    }
    const size_t slash = step.rest.find('/');
    const std::string name = step.rest.substr(0, slash);
    const std::string rest = slash == std::string::npos ? "" : step.rest.substr(slash + 1);
    if (!HasGlobMeta(name)) return Enter(step.done, name, rest);
    TRY_ASSIGN(const std::vector<std::string> names, Names(step.done));
    bool matched = false;
    for (const std::string& candidate : names) {
      TRY_ASSIGN(const bool match, GlobMatch(name, candidate));
      if (!match) continue;
      matched = true;
      TRY(Enter(step.done, candidate, rest));
    }
    // Nothing there: the pattern itself, which then matches nothing either.
    if (!matched) found_.insert(Join(step.done, step.rest));
    return OkStatus();
  }

  Status Enter(const std::string& dir, const std::string& name, const std::string& rest) {
    const std::string path = Join(dir, name);
    std::array<char, PATH_MAX> target{};
    const ssize_t n = readlinkat(root_, path.c_str(), target.data(), target.size());
    if (n < 0) {
      waiting_.push_back({path, rest});
      return OkStatus();
    }
    found_.insert(path);  // the link itself
    const std::string to(target.data(), static_cast<size_t>(n));
    const std::string resolved = to.starts_with('/') ? Relative(to) : Relative(Join(dir, to));
    waiting_.push_back({"", Join(resolved, rest)});
    return OkStatus();
  }

  Result<std::vector<std::string>> Names(const std::string& dir) const {
    std::vector<std::string> names;
    const Fd fd(openat(root_, dir.empty() ? "." : dir.c_str(),
                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return names;
    TRY_ASSIGN_CTX(const auto entries, sys::ReadDir(fd.get()), "{}", dir);
    for (const sys::DirEntry& entry : entries) names.push_back(entry.name);
    return names;
  }

  static std::string Join(const std::string& a, const std::string& b) {
    if (a.empty()) return b;
    return b.empty() ? a : a + "/" + b;
  }

  const int root_;
  std::deque<Step> waiting_;
  std::set<std::string> seen_;
  std::set<std::string> found_;
};

}  // namespace

Result<std::vector<std::string>> FollowLinks(int root, const std::vector<std::string>& paths) {
  return Follower(root).Run(paths);
}

}  // namespace kiln::filesync
