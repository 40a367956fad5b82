#include "store/content_hash.h"

#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <memory>
#include <optional>

#include "base/glob.h"
#include "base/pattern_matcher.h"
#include "base/strings.h"
#include "store/copy.h"

namespace kiln::store {
namespace {

char TypeFlag(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return '5';
    case S_IFLNK:
      return '2';
    case S_IFCHR:
      return '3';
    case S_IFBLK:
      return '4';
    case S_IFIFO:
      return '6';
    default:
      return '0';  // files, and sockets
  }
}

bool IsHashedXattr(std::string_view name) {
  if (name == "security.capability") return true;
  return !name.starts_with("security.") && !name.starts_with("system.");
}

// "a/b" as the tree's key has it: slashes are NUL.
std::string KeyOf(std::string_view path) {
  std::string key(path);
  for (char& c : key) {
    if (c == '/') c = '\0';
  }
  return key;
}

// Of a directory: NUL header-digest, then NUL name digest for each child, as text.
class TreeHasher {
 public:
  TreeHasher(const progress::Activity& activity, const TreeView& tree)
      : activity_(activity), tree_(tree) {}

  Result<Digest> Header(const TreeEntry& entry) {
    if (entry.path == "/" && tree_.received()) return Sha256Of("");
    return tree_.EntryDigest(entry);
  }

  Result<Digest> Whole(const TreeEntry& entry) {
    if (!entry.node->IsDirectory()) return tree_.EntryDigest(entry);
    TRY(activity_.Check());
    Sha256 hash;
    TRY_ASSIGN(const Digest header, Header(entry));
    Feed("", header, &hash);
    TRY_ASSIGN(const std::vector<TreeEntry> children, tree_.Children(entry));
    for (const TreeEntry& child : children) {
      TRY_ASSIGN(const Digest digest, Whole(child));
      Feed(child.node->name, digest, &hash);
    }
    return hash.Finish();
  }

 private:
  static void Feed(std::string_view name, const Digest& digest, Sha256* hash) {
    hash->Update(std::string_view("\0", 1)).Update(name).Update(digest.ToString());
  }

  const progress::Activity& activity_;
  const TreeView& tree_;
};

// How far filters got for a path: what its children start from.
struct FilterState {
  PatternMatcher::MatchInfo include;
  PatternMatcher::MatchInfo exclude;
};

class Filters {
 public:
  static Result<Filters> Create(const HashSelector& selector) {
    Filters filters;
    if (!selector.include.empty()) {
      TRY_ASSIGN_CTX(filters.include_, PatternMatcher::Create(selector.include),
                     "invalid includepatterns: [{}]", Join(selector.include, " "));
    }
    if (!selector.exclude.empty()) {
      TRY_ASSIGN_CTX(filters.exclude_, PatternMatcher::Create(selector.exclude),
                     "invalid excludepatterns: [{}]", Join(selector.exclude, " "));
    }
    return filters;
  }

  bool empty() const { return !include_ && !exclude_; }

  bool Selects(std::string_view path, const FilterState* parent, FilterState* state) const {
    if (include_) {
      const bool matched =
          include_->Matches(path, parent == nullptr ? nullptr : &parent->include, &state->include);
      if (!matched) return false;
    }
    return !exclude_ || !exclude_->Matches(path, parent == nullptr ? nullptr : &parent->exclude,
                                           &state->exclude);
  }

  // Of a file that the path itself names: there is no directory that patterns were relative to.
  bool ExcludesName(std::string_view name) const {
    return exclude_ && exclude_->MatchesOrParentMatches(name);
  }

 private:
  std::optional<PatternMatcher> include_;
  std::optional<PatternMatcher> exclude_;
};

struct Selected {
  std::string path;  // as the selector's base was written, not as it resolves
  Digest digest;
};

// A directory between the base and where the walk stands, of which the header goes in once
// something below does.
struct OpenDirectory {
  std::string path;
  Digest header;
  bool taken = false;
  FilterState state;
};

// Collects the headers, files and links a selector with wildcards or filters takes, in key order.
class Collector {
 public:
  Collector(const progress::Activity& activity, const TreeView& tree, const HashSelector& selector,
            Filters filters)
      : activity_(activity),
        tree_(tree),
        hasher_(activity, tree),
        selector_(selector),
        filters_(std::move(filters)) {
    const std::string clean = CleanAbsolute(selector.path);
    pattern_ = clean == "/" ? "" : clean;
    if (selector.follow_links && selector.follows_as_copies_do)
      named_folders_ = NamedFolders(selector.include);
    skips_base_header_ = selector.path.ends_with('/');
  }

  // The part of the pattern before its first component with a wildcard; "" for the root.
  std::string Prefix() const {
    if (!selector_.wildcard) return pattern_;
    std::string prefix;
    for (std::string_view part : Split(pattern_, '/')) {
      if (part.empty()) continue;
      if (HasGlobMeta(part)) break;
      prefix.append("/").append(part);
    }
    return prefix;
  }

  Status Run() {
    prefix_ = Prefix();
    const bool follow = selector_.wildcard && prefix_ != pattern_;
    auto base = tree_.Lookup(prefix_, follow ? Follow::kYes : Follow::kNo);
    if (!base.ok())
      return base.error().code() == Code::kNotFound ? OkStatus() : Status(std::move(base).error());
    TRY(Visit(*base, prefix_));
    for (const std::string& required : selector_.required_paths) {
      bool found = false;
      for (const Selected& item : selected_) found = found || item.path.starts_with(required);
      if (!found) return NotFound("{}: not found", Quoted(required));
    }
    return OkStatus();
  }

  const std::string& prefix() const { return prefix_; }
  const std::string& pattern() const { return pattern_; }
  const std::vector<Selected>& selected() const { return selected_; }

 private:
  // `name` is the path as the pattern sees it.
  Status Visit(const TreeEntry& entry, const std::string& name) {
    if (entry.node->IsSymlink()) {
      TRY_ASSIGN(const bool entered, IsEntered(name));
      if (entered) {
        TRY_ASSIGN(const std::optional<TreeEntry> target, Target(entry));
        if (target && target->node->IsDirectory()) return Visit(*target, name);
      }
    }
    if (!entry.node->IsDirectory()) return VisitLeaf(entry, name);
    TRY(activity_.Check());
    const size_t depth = open_.size();
    if (!(name == pattern_ && skips_base_header_)) {
      TRY(EnterDirectory(entry, name));
    }
    TRY_ASSIGN(const std::vector<TreeEntry> children, tree_.Children(entry));
    for (const TreeEntry& child : children) {
      TRY(Visit(child, name + "/" + child.node->name));
    }
    open_.resize(depth);
    return OkStatus();
  }

  Status EnterDirectory(const TreeEntry& entry, const std::string& name) {
    TRY_ASSIGN(const bool candidate, IsCandidate(name));
    if (!candidate) return OkStatus();
    OpenDirectory directory;
    directory.path = name;
    const bool selects = filters_.Selects(
        Relative(name), open_.empty() ? nullptr : &open_.back().state, &directory.state);
    TRY_ASSIGN(directory.header, hasher_.Header(entry));
    open_.push_back(std::move(directory));
    if (selects) TakeOpen();
    return OkStatus();
  }

  Status VisitLeaf(const TreeEntry& entry, const std::string& name) {
    TRY_ASSIGN(const bool candidate, IsCandidate(name));
    if (!candidate) return OkStatus();
    FilterState state;
    const std::string relative = Relative(name);
    if (!filters_.Selects(relative, open_.empty() ? nullptr : &open_.back().state, &state))
      return OkStatus();
    if (relative.empty() && filters_.ExcludesName(BaseName(name))) return OkStatus();
    const bool follow = selector_.follow_links && open_.empty() && entry.node->IsSymlink();
    TakeOpen();
    Digest digest;
    std::optional<TreeEntry> target;
    if (follow) {
      TRY_ASSIGN(target, Target(entry));
    }
    if (target) {
      TRY_ASSIGN(digest, hasher_.Whole(*target));
    } else {
      TRY_ASSIGN(digest, tree_.EntryDigest(entry));
    }
    selected_.push_back({name, digest});
    return OkStatus();
  }

  // Where a link leads; nullopt: nowhere, and the link stands for itself.
  Result<std::optional<TreeEntry>> Target(const TreeEntry& link) const {
    auto target = tree_.Lookup(link.path, Follow::kYes);
    if (target.ok()) return std::optional<TreeEntry>(std::move(target).value());
    if (selector_.follows_as_copies_do && target.error().code() == Code::kNotFound)
      return std::optional<TreeEntry>();
    return std::move(target).error();
  }

  // Whether a link, if it leads to a folder, is what filters apply to or on the way to what they
  // name.
  Result<bool> IsEntered(const std::string& name) {
    if (!selector_.follow_links || !selector_.follows_as_copies_do || filters_.empty())
      return false;
    TRY_ASSIGN(const bool candidate, IsCandidate(name));
    if (!candidate) return false;
    const std::string relative = Relative(name);
    return relative.empty() || named_folders_.contains(relative);
  }

  // With a wildcard: the whole pattern matches, or what it matched before contains this.
  Result<bool> IsCandidate(const std::string& name) {
    if (!selector_.wildcard || pattern_.empty()) return true;
    if (!matched_.empty() && name.starts_with(matched_ + "/")) return true;
    TRY_ASSIGN(const bool matches, GlobMatch(pattern_, name));
    if (matches) matched_ = name;
    return matches;
  }

  // What filters see: the path below the base, or below what the wildcard matched.
  std::string Relative(const std::string& name) const {
    const std::string& base = selector_.wildcard ? matched_ : pattern_;
    std::string_view rest = name;
    if (rest == base) return "";
    if (rest.starts_with(base + "/")) rest.remove_prefix(base.size() + 1);
    return std::string(rest);
  }

  void TakeOpen() {
    for (OpenDirectory& directory : open_) {
      if (directory.taken) continue;
      directory.taken = true;
      selected_.push_back({directory.path, directory.header});
    }
  }

  const progress::Activity& activity_;
  const TreeView& tree_;
  TreeHasher hasher_;
  const HashSelector& selector_;
  Filters filters_;
  std::set<std::string, std::less<>> named_folders_;
  std::string pattern_;
  std::string prefix_;
  std::string matched_;
  bool skips_base_header_ = false;
  std::vector<OpenDirectory> open_;
  std::vector<Selected> selected_;
};

Result<Digest> HashFiltered(const progress::Activity& activity, const TreeView& tree,
                            const HashSelector& selector) {
  TRY_ASSIGN(Filters filters, Filters::Create(selector));
  Collector collector(activity, tree, selector, std::move(filters));
  TRY(collector.Run());
  const std::vector<Selected>& selected = collector.selected();
  if (selected.empty()) return Sha256Of("");
  if (selected.size() == 1 && BaseName(collector.pattern()) == BaseName(selected[0].path))
    return selected[0].digest;
  Sha256 hash;
  for (const Selected& item : selected) {
    std::string_view rest = item.path;
    if (rest.starts_with(collector.prefix())) rest.remove_prefix(collector.prefix().size());
    const std::string key = KeyOf(rest);
    hash.Update(key.empty() ? std::string(1, '\0') : key).Update(item.digest.ToString());
  }
  return hash.Finish();
}

Digest JoinDigests(const std::vector<Digest>& digests) {
  Sha256 hash;
  for (size_t i = 0; i < digests.size(); ++i) {
    if (i > 0) hash.Update(std::string_view("\0", 1));
    hash.Update(digests[i].ToString());
  }
  return hash.Finish();
}

}  // namespace

EntryHasher::EntryHasher(const TreeNode& node, const sys::Xattrs& xattrs) {
  const char type = TypeFlag(node.mode);
  const bool device = type == '3' || type == '4';
  const mode_t mode = type == '2' ? 0777 : node.mode & 07777;
  const uint64_t size = node.IsRegular() ? node.size : 0;
  std::string head;
  head.reserve(160);
  fmt::format_to(std::back_inserter(head),
                 "namemode{}uid{}gid{}size{}typeflag{}linkname{}unamegnamedevmajor{}devminor{}",
                 mode, node.uid, node.gid, size, type,
                 type == '2' ? node.link_target : std::string(),
                 device ? gnu_dev_major(node.rdev) : 0, device ? gnu_dev_minor(node.rdev) : 0);
  for (const auto& [name, value] : xattrs) {
    if (IsHashedXattr(name)) head.append(name).append(value);
  }
  hasher_.Update(head);
}

Result<Digest> HashPath(const progress::Activity& activity, const TreeView& tree,
                        const HashSelector& selector) {
  if (selector.wildcard || !selector.include.empty() || !selector.exclude.empty()) {
    return HashFiltered(activity, tree, selector);
  }
  auto entry = tree.Lookup(selector.path, selector.follow_links ? Follow::kYes : Follow::kNo);
  if (!entry.ok() && entry.error().code() == Code::kNotFound && selector.follow_links &&
      selector.follows_as_copies_do) {
    auto link = tree.Lookup(selector.path, Follow::kNo);
    if (link.ok()) entry = std::move(link);
  }
  if (!entry.ok()) return std::move(entry).error();
  return TreeHasher(activity, tree).Whole(*entry);
}

Result<Digest> ContentDigest(const progress::Activity& activity, const TreeView& tree,
                             std::span<const HashSelector> selectors) {
  std::vector<Digest> digests;
  for (const HashSelector& selector : selectors) {
    TRY_ASSIGN(const Digest digest, HashPath(activity, tree, selector));
    digests.push_back(digest);
  }
  return JoinDigests(digests);
}

Result<Digest> ScratchContentDigest(std::span<const HashSelector> selectors) {
  std::vector<Digest> digests;
  for (const HashSelector& selector : selectors) {
    if (selector.path != "/") return NotFound("{}: no such file or directory", selector.path);
    digests.push_back(Sha256Of(""));
  }
  return JoinDigests(digests);
}

}  // namespace kiln::store
