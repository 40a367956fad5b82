#include <sys/sysmacros.h>

#include <map>
#include <optional>

#include "base/pattern_matcher.h"
#include "filesync/follow_links.h"
#include "filesync/tree.h"
#include "sys/rooted_path.h"

namespace kiln::filesync {
namespace {

class FolderTree final : public Tree {
 public:
  FolderTree(sys::RootedPath root, FolderOptions options, std::optional<PatternMatcher> include,
             std::optional<PatternMatcher> exclude)
      : root_(std::move(root)),
        options_(std::move(options)),
        include_(std::move(include)),
        exclude_(std::move(exclude)) {}

  Status Walk(const progress::Activity& activity, const Visitor& visit) override {
    return sys::Walk(root_, "",
                     [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
                       if (entry.path.empty()) return sys::WalkNext::kContinue;
                       TRY(activity.Check());
                       return Visit(entry, visit);
                     },
                     {.cross_mounts = true});
  }

  Result<Content> Open(const Entry& entry) override {
    TRY_ASSIGN(const sys::RootedPath::Parent parent, root_.OpenParent(entry.path));
    Content content;
    TRY_ASSIGN(content.fd, sys::OpenRegularAt(parent.dir.get(), parent.name));
    return content;
  }

 private:
  // A directory on the way down to the entry being visited.
  struct Level {
    std::string prefix;  // its path and "/"
    PatternMatcher::MatchInfo included;
    PatternMatcher::MatchInfo excluded;
    std::optional<Entry> pending;  // not visited yet: matches nothing itself
  };

  Result<sys::WalkNext> Visit(const sys::WalkEntry& entry, const Visitor& visit) {
    while (!levels_.empty() && !entry.path.starts_with(levels_.back().prefix)) levels_.pop_back();
    const Level* parent = levels_.empty() ? nullptr : &levels_.back();
    const bool is_dir = entry.info.IsDirectory();
    Level level;
    bool wanted = true;
    if (include_) {
      wanted = include_->Matches(entry.path, parent ? &parent->included : nullptr, &level.included);
      if (!wanted && is_dir && !include_->CouldMatchBelow(entry.path))
        return sys::WalkNext::kSkipDirectory;
    }
    if (exclude_ &&
        exclude_->Matches(entry.path, parent ? &parent->excluded : nullptr, &level.excluded)) {
      if (is_dir && !exclude_->ExceptionCouldMatchBelow(entry.path))
        return sys::WalkNext::kSkipDirectory;
      wanted = false;
    }
    if (!wanted && !is_dir) return sys::WalkNext::kContinue;
    TRY_ASSIGN(Entry listed, Describe(entry));
    if (wanted) {
      for (Level& above : levels_) {
        if (above.pending) TRY(visit(*above.pending));
        above.pending.reset();
      }
      TRY(visit(listed));
    }
    if (is_dir) {
      level.prefix = entry.path + "/";
      if (!wanted) level.pending = std::move(listed);
      levels_.push_back(std::move(level));
    } else if (entry.info.nlink > 1 && !listed.IsHardLink()) {
      first_names_.emplace(std::pair(entry.info.dev, entry.info.ino), entry.path);
    }
    return sys::WalkNext::kContinue;
  }

  Result<Entry> Describe(const sys::WalkEntry& walked) const {
    const sys::FileInfo& info = walked.info;
    Entry entry;
    entry.path = walked.path;
    // A socket cannot be sent: it is listed as an empty file.
    entry.mode = S_ISSOCK(info.mode) ? (info.mode & 07777) | S_IFREG : info.mode;
    entry.uid = options_.reset_owner ? 0 : info.uid;
    entry.gid = options_.reset_owner ? 0 : info.gid;
    entry.mtime_ns = options_.mtime_ns.value_or(UnixNanos(info.mtime));
    if (S_ISREG(info.mode)) {
      entry.size = static_cast<int64_t>(info.size);
      if (options_.tell_changes) entry.ctime_ns = UnixNanos(info.ctime);
    }
    if (info.IsSymlink()) {
      TRY_ASSIGN(entry.linkname, sys::ReadLinkAt(walked.dir, walked.name));
      entry.size = static_cast<int64_t>(entry.linkname.size());
    } else if (S_ISREG(info.mode) && info.nlink > 1) {
      const auto first = first_names_.find(std::pair(info.dev, info.ino));
      if (first != first_names_.end()) entry.linkname = first->second;
    }
    if (entry.IsDevice()) {
      entry.devmajor = major(info.rdev);
      entry.devminor = minor(info.rdev);
    }
    TRY_ASSIGN(const sys::Xattrs xattrs, sys::GetXattrsAt(walked.dir, walked.name));
    for (const auto& [name, value] : xattrs) {
      if (!name.starts_with("com.apple.")) entry.xattrs.emplace_back(name, value);
    }
    return entry;
  }

  const sys::RootedPath root_;
  const FolderOptions options_;
  const std::optional<PatternMatcher> include_;
  const std::optional<PatternMatcher> exclude_;
  std::vector<Level> levels_;
  // Of inodes with several names, the first that was listed.
  std::map<std::pair<dev_t, ino_t>, std::string> first_names_;
};

Result<std::optional<PatternMatcher>> MatcherOf(const std::vector<std::string>& patterns) {
  std::optional<PatternMatcher> matcher;
  if (patterns.empty()) return matcher;
  TRY_ASSIGN(matcher, PatternMatcher::Create(patterns));
  return matcher;
}

}  // namespace

Result<std::unique_ptr<Tree>> OpenFolder(Fd root, FolderOptions options) {
  bool filtered = !options.include.empty();
  std::vector<std::string> include = options.include;
  if (!options.follow_paths.empty()) {
    TRY_ASSIGN(const std::vector<std::string> followed,
               FollowLinks(root.get(), options.follow_paths));
    include.insert(include.end(), followed.begin(), followed.end());
    filtered = !followed.empty();
  }
  if (!filtered) include.clear();
  TRY_ASSIGN_CTX(auto includes, MatcherOf(include), "include patterns");
  TRY_ASSIGN_CTX(auto excludes, MatcherOf(options.exclude), "exclude patterns");
  return std::unique_ptr<Tree>(new FolderTree(sys::RootedPath::FromFd(std::move(root)),
                                              std::move(options), std::move(includes),
                                              std::move(excludes)));
}

}  // namespace kiln::filesync
