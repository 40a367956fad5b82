#include <fmt/format.h>

#include <utility>

#include "base/digest.h"
#include "base/glob.h"
#include "base/strings.h"
#include "dockerfile/git_ref.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/host.h"
#include "dockerfile/lower_stage.h"
#include "dockerfile/os_path.h"
#include "dockerfile/owner.h"
#include "llb/caps.h"

namespace kiln::dockerfile {

// What a COPY or ADD turns into, and how its history shows it.
struct StageLowering::PathList {
  std::vector<llb::FileAction> actions;
  std::string written_dest;  // expanded, as the history has it
  std::string dest;
  std::string chown;
  std::string chmod;
  std::string shown;  // sources as the history has them
};

namespace {

bool HasName(const llb::Owner& owner) {
  const auto named = [](const std::optional<llb::User>& user) {
    return user && std::holds_alternative<std::string>(*user);
  };
  return named(owner.user) || named(owner.group);
}

// Only shown, not part of any digest: the same for the vertices of one instruction, different for
// others.
llb::ProgressGroup GroupFor(const StageState& state, LineRange lines, const std::string& name) {
  const std::string key =
      fmt::format("{}:{}:{}:{}", oci::FormatAll(state.platform), state.index, lines.first, name);
  return {Sha256Of(key).hex().substr(0, 25), name, false};
}

// `root/./pattern`: what stands before the pivot does not appear in the destination.
Status SplitParents(const std::string& path, std::string_view os, llb::CopyAction& action) {
  std::string root = "/";
  std::string pattern = path;
  if (const auto cut = Cut(path, "/./")) {
    root = cut->first;
    pattern = cut->second;
  }
  TRY_ASSIGN(pattern, NormalizePath("/", CleanPath("/" + ToSlash(pattern, os)), os, false));
  action.include_patterns = {pattern.substr(1)};
  TRY_ASSIGN(action.src, NormalizePath("/", CleanPath("/" + ToSlash(root, os)), os, false));
  if (HasGlobMeta(root) || HasGlobMeta(pattern)) return OkStatus();
  action.required_paths = {JoinPath(action.src, pattern)};
  return OkStatus();
}

}  // namespace

Status StageLowering::Do(const Copy& copy) {
  FromTree from = context_.main_context;
  if (!copy.from.empty()) {
    TRY_ASSIGN(from, context_.from(*current_, state_.index, 0, nullptr));
  }
  PathList paths;
  TRY_ASSIGN(paths.written_dest, Word(copy.dest));
  TRY_ASSIGN(paths.dest, DestPath(state_.cwd, paths.written_dest, state_.platform.os));
  TRY_ASSIGN(paths.chown, Word(copy.chown));
  TRY_ASSIGN(paths.chmod, Word(copy.chmod));
  llb::CopyAction common;
  common.dest = paths.dest;
  common.create_dest_path = true;
  for (const std::string& written : copy.exclude) {
    TRY_ASSIGN(std::string pattern, Pattern(written));
    if (!pattern.empty()) common.exclude_patterns.push_back(std::move(pattern));
  }
  if (!paths.chown.empty()) {
    TRY_ASSIGN(common.owner, ParseOwner(paths.chown));
    if (copy.link && HasName(*common.owner)) {
      return Unknown(
          "--chown={}: user and group names can't be resolved when used with --link, use numeric "
          "uid[:gid] instead",
          paths.chown);
    }
  }
  if (!paths.chmod.empty()) TRY(SetMode(paths.chmod, common));

  const bool link = copy.link && copy.chmod.empty() && llb::IsServed("mergeop");
  const std::string prefix = NextPrefix(context_, state_);
  const std::string shown = ShownText();
  llb::VertexOptions options = StepOptions(prefix + shown);
  for (const std::string& written : copy.sources) {
    TRY_ASSIGN(const std::string source, Word(written));
    if (!copy.checksum.empty() && copy.sources.size() != 1) {
      return Unknown("checksum can't be specified for multiple sources");
    }
    bool taken = false;
    TRY(AddRemote(copy, source, common, options.name, paths, taken));
    if (!taken) TRY(AddPath(copy, source, from, common, paths));
  }
  for (const Heredoc& heredoc : copy.inline_files) TRY(AddInlineFile(heredoc, common, paths));

  if (link) options.progress_group = GroupFor(state_, lines_, options.name);
  const std::string history = CopyHistory(copy, paths);
  if (link) {
    llb::VertexOptions merge = options;
    merge.name = prefix + "LINK " + shown;
    llb::Output layer = llb::File({}, std::move(paths.actions), std::move(options));
    state_.tree = state_.tree.scratch()
                      ? std::move(layer)
                      : llb::Merge({state_.tree, std::move(layer)}, std::move(merge));
  } else {
    state_.tree = llb::File(state_.tree, std::move(paths.actions), std::move(options));
  }
  AddHistory(history, /*layer=*/true);
  return OkStatus();
}

// Git and HTTP sources: ADD fetches them, COPY refuses them.
Status StageLowering::AddRemote(const Copy& copy, const std::string& source, llb::CopyAction action,
                                const std::string& name, PathList& out, bool& taken) {
  TRY_ASSIGN(auto git, ParseGitRef(source));
  const bool http = !git && IsHttpUrl(source);
  if (!git && !http) {
    if (!copy.checksum.empty()) return Unknown("checksum requires HTTP(S) or Git sources");
    return OkStatus();
  }
  if (!copy.add) {
    return git ? Unknown("source can't be a git ref for COPY")
               : Unknown("source can't be a URL for COPY");
  }
  taken = true;
  llb::VertexOptions options;
  options.name = name;
  TRY_ASSIGN(const std::string checksum, Word(copy.checksum));
  if (git) {
    git->mtime.clear();
    const bool keep = copy.keep_git_dir.value_or(git->keep_git_dir);
    if (git->keep_git_dir_said.value_or(keep) != keep) {
      return Unknown("inconsistent keep-git-dir configuration");
    }
    git->keep_git_dir = keep;
    if (!checksum.empty()) {
      if (!git->checksum.empty() && git->checksum != checksum) {
        return Unknown("checksum mismatch {} != {}", Quoted(checksum), Quoted(git->checksum));
      }
      git->checksum = checksum;
    }
    action.from = llb::Source(GitSpec(*git, context_.options.git_advice), std::move(options));
    action.src = "/";
    // BuildKit asks the client for such a path as well, unless it is one of HTTP.
    if (!IsHttpUrl(source) && context_.main_context.local != nullptr) {
      context_.main_context.local->Use(source);
    }
  } else {
    llb::HttpSource url;
    url.url = source;
    url.filename = UrlFilename(source);
    if (!checksum.empty()) {
      TRY_ASSIGN(url.checksum, ParseChecksum(checksum));
    }
    options.description[std::string(kCommandKey)] = "";
    action.from = llb::Source(llb::Format(url), std::move(options));
    action.src = "/" + url.filename;
    action.attempt_unpack = copy.unpack.value_or(false);
  }
  out.shown += " " + source;
  out.actions.emplace_back(std::move(action));
  return OkStatus();
}

Status StageLowering::AddPath(const Copy& copy, const std::string& source, const FromTree& from,
                              llb::CopyAction action, PathList& out) {
  action.from = from.output;
  const std::string& os = state_.platform.os;
  if (copy.parents) {
    TRY(SplitParents(source, os, action));
  } else {
    TRY_ASSIGN(const std::string path, NormalizePath("/", source, os, /*keep_slash=*/false));
    action.src = CleanPath(path);
  }
  action.follow_symlinks = true;
  action.dir_copy_contents = true;
  action.allow_wildcard = true;
  action.allow_empty_wildcard = true;
  action.attempt_unpack = copy.add && copy.unpack.value_or(true);
  if (from.local != nullptr) from.local->Use(source);
  out.shown += " " + source;
  out.actions.emplace_back(std::move(action));
  return OkStatus();
}

Status StageLowering::AddInlineFile(const Heredoc& heredoc, llb::CopyAction action, PathList& out) {
  llb::MkfileAction file;
  file.path = "/" + heredoc.name;
  file.data = HeredocText(heredoc);
  if (heredoc.expand) {
    ExpandOptions options;
    options.literal_quotes = true;
    options.max_bytes = file.data.size() + kMaxExpansionBytes;
    TRY_ASSIGN(Expanded expanded, Expand(file.data, Lookup(), options));
    file.data = ToValidUtf8(expanded.text);
  }
  action.exclude_patterns.clear();  // whoever writes a file here wants it
  action.src = file.path;
  llb::VertexOptions options;
  options.name = "[internal] preparing inline document";
  action.from = llb::File({}, {std::move(file)}, std::move(options));
  out.shown += " <<" + heredoc.name;
  out.actions.emplace_back(std::move(action));
  return OkStatus();
}

std::string StageLowering::CopyHistory(const Copy& copy, const PathList& paths) const {
  std::string text = copy.add ? "ADD" : "COPY";
  if (copy.parents) text += " --parents";
  if (!paths.chown.empty()) text += " --chown=" + paths.chown;
  if (!paths.chmod.empty()) text += " --chmod=" + paths.chmod;
  return text + paths.shown + " " + paths.written_dest + " # buildkit";
}

}  // namespace kiln::dockerfile
