#include "ops/file_copy.h"

#include <utility>

#include "base/glob.h"
#include "base/pattern_matcher.h"
#include "base/strings.h"
#include "ops/file_actions.h"
#include "ops/symbolic_mode.h"
#include "ops/unpack.h"
#include "store/copy.h"

namespace kiln::ops {
namespace {

using store::Follow;
using store::TreeEntry;

// Whether the path says "a directory": it ends in "/" or "/.".
bool NamesDirectory(std::string_view path) {
  return path.ends_with('/') || path.ends_with("/.") || path == "." || path.empty();
}

class Copier {
 public:
  Copier(const CopyContext& context, const pb::FileActionCopy& action)
      : context_(context), action_(action) {}

  Status Run() {
    TRY(ReadOptions());
    TRY_ASSIGN(std::vector<Source> sources, FindSources());
    for (const Source& source : sources) {
      TRY(context_.activity.Check());
      TRY(CopyOne(source));
    }
    return OkStatus();
  }

 private:
  struct Source {
    std::string path;  // as named or matched: its last component names the copy
    TreeEntry entry;   // with links followed, if asked for
  };

  Status ReadOptions() {
    if (!action_.createdestpath()) {
      TRY_ASSIGN(std::string target, context_.writer.Resolve(action_.dest()));
      auto parent = context_.writer.Stat(DirName(target));
      if (!parent.ok() || !*parent)
        return NotFound("failed to stat {}: no such file or directory", action_.dest());
    }
    options_.include = {action_.include_patterns().begin(), action_.include_patterns().end()};
    options_.exclude = {action_.exclude_patterns().begin(), action_.exclude_patterns().end()};
    if (context_.owner) {
      options_.uid = context_.owner->uid;
      options_.gid = context_.owner->gid;
    }
    options_.mtime = TimestampOf(action_.timestamp());
    options_.replace_existing = action_.alwaysreplaceexistingdestpaths();
    options_.allow_links = context_.source_is_never_written;
    options_.blocks_as_chars = true;
    options_.follow_named_folders = action_.followsymlink();
    if (!options_.exclude.empty()) {
      TRY_ASSIGN_CTX(exclude_, PatternMatcher::Create(options_.exclude), "exclude patterns");
    }
    parents_ = {.mode = 0755, .mtime = options_.mtime};
    parents_.uid = options_.uid.value_or(0);
    parents_.gid = options_.gid.value_or(0);
    if (!action_.modestr().empty()) {
      TRY_ASSIGN(SymbolicMode mode, SymbolicMode::Parse(action_.modestr()));
      options_.change_mode = [mode](mode_t old) { return mode.Apply(old); };
    } else if (action_.mode() != -1) {
      mode_t mode = static_cast<mode_t>(action_.mode()) & 07777;
      options_.change_mode = [mode](mode_t /*old*/) { return mode; };
      parents_.mode = mode;
    }
    return OkStatus();
  }

  Follow follow() const { return action_.followsymlink() ? Follow::kYes : Follow::kNo; }

  Result<std::vector<Source>> FindSources() {
    std::vector<Source> sources;
    std::string path = store::CleanAbsolute(action_.src());
    if (!action_.allowwildcard() || !HasGlobMeta(path)) {
      // Escaped characters of a pattern without wildcards stand for themselves.
      TRY_ASSIGN(TreeEntry entry, Find(path));
      sources.push_back({path, std::move(entry)});
      return sources;
    }
    TRY_ASSIGN(auto matches, store::MatchWildcard(context_.source, path, follow()));
    if (matches.empty() && !action_.allowemptywildcard())
      return NotFound("{} not found", action_.src());
    for (TreeEntry& match : matches) {
      std::string matched = match.path;
      if (match.node->IsSymlink()) {
        TRY_ASSIGN(match, Find(matched));
      }
      sources.push_back({std::move(matched), std::move(match)});
    }
    return sources;
  }

  // A link that leads nowhere is copied as what it is.
  Result<TreeEntry> Find(const std::string& path) {
    auto entry = context_.source.Lookup(path, follow());
    if (entry.ok() || entry.error().code() != Code::kNotFound) return entry;
    auto link = context_.source.Lookup(path, Follow::kNo);
    if (link.ok()) return link;
    return NotFound("lstat {}: no such file or directory", path);
  }

  // mkdir -p. What it makes gets its time again at the end, when nothing more is put into it.
  Status MakeParents(const std::string& path) {
    TRY_ASSIGN(auto created, context_.writer.MakeDirs(path, parents_));
    if (parents_.mtime)
      for (auto directory = created.rbegin(); directory != created.rend(); ++directory)
        touched_.push_back(*directory);
    return OkStatus();
  }

  Status CopyOne(const Source& source) {
    // Patterns are relative to a folder that is copied; of a file that is named itself its name
    // counts.
    if (exclude_ && !source.entry.node->IsDirectory() &&
        exclude_->MatchesOrParentMatches(BaseName(source.path))) {
      return OkStatus();
    }
    if (action_.attemptunpackdockercompatibility()) {
      TRY_ASSIGN(bool unpacked, Unpack(source));
      if (unpacked) return OkStatus();
    }
    TRY_ASSIGN(std::string target, PrepareTarget(source));
    TRY(store::CopyTree(context_.activity, context_.source, source.entry, context_.writer, target,
                        options_));
    for (const std::string& directory : std::exchange(touched_, {}))
      if (directory != target) TRY(context_.writer.SetMeta(directory, parents_));
    return OkStatus();
  }

  // Where the copy goes: parents made, links in the destination followed, the source's name added
  // below a directory.
  Result<std::string> PrepareTarget(const Source& source) {
    const std::string& dest = action_.dest();
    TRY(MakeParents(NamesDirectory(dest) ? dest : DirName(store::CleanAbsolute(dest))));
    TRY_ASSIGN(std::string target, context_.writer.Resolve(dest));
    TRY_ASSIGN(auto existing, context_.writer.Stat(target));
    bool source_is_dir = source.entry.node->IsDirectory();
    bool copies_content = source_is_dir && action_.dircopycontents();
    bool below = source_is_dir ? !action_.dircopycontents() && existing.has_value()
                               : existing.has_value() && existing->info.IsDirectory();
    if (below && source.path != "/") {
      target = JoinPath(target, BaseName(source.path));
      // The name may be a link in the destination, which the copy replaces.
    }
    if (copies_content && !existing) {
      TRY(MakeParents(target));
    } else {
      TRY(MakeParents(DirName(target)));
    }
    return target;
  }

  Result<bool> Unpack(const Source& source) {
    auto entry = context_.source.Lookup(source.path, Follow::kYes);
    if (!entry.ok() && entry.error().code() == Code::kNotFound) return false;
    if (!entry.ok()) return std::move(entry).error();
    if (!entry->node->IsRegular()) return false;
    TRY_ASSIGN(Fd file, context_.source.Open(*entry));
    return UnpackArchive({.activity = context_.activity,
                          .file = std::move(file),
                          .name = source.path,
                          .dest = action_.dest(),
                          .owner = context_.owner,
                          .mtime = options_.mtime},
                         context_.writer);
  }

  const CopyContext& context_;
  const pb::FileActionCopy& action_;
  store::CopyOptions options_;
  std::optional<PatternMatcher> exclude_;
  store::NodeMeta parents_;
  std::vector<std::string> touched_;
};

}  // namespace

Status CopyPath(const CopyContext& context, const pb::FileActionCopy& action) {
  return Copier(context, action).Run();
}

}  // namespace kiln::ops
