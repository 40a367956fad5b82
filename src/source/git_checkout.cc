#include "source/git_checkout.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "base/error.h"
#include "base/ids.h"
#include "base/strings.h"
#include "store/store.h"
#include "sys/rooted_path.h"

namespace kiln::source {
namespace {

// A path as a file:// URL; git decodes percent signs.
std::string FileUrl(const std::string& path) { return "file://" + ReplaceAll(path, "%", "%25"); }

// One checkout into a directory of a snapshot that is being made.
class Checkout {
 public:
  Checkout(const llb::GitSource& spec, const Git& git, const GitRepository& repository,
           const GitRevision& revision, std::string upper)
      : spec_(spec),
        git_(git),
        repository_(repository),
        revision_(revision),
        upper_(std::move(upper)),
        folder_(spec.subdir.empty() ? "" : ".kiln-" + NewId()) {}

  Status Run() {
    TRY_ASSIGN(const sys::RootedPath root, sys::RootedPath::Open(upper_));
    if (!folder_.empty()) TRY(root.MakeDir(folder_, 0755));
    const bool keep = spec_.keep_git_dir && folder_.empty();
    TRY_ASSIGN(const bool submodules, HasSubmodules());
    if (keep || submodules) {
      TRY(FromRepositoryOfItsOwn());
      if (submodules) TRY(UpdateSubmodules());
      TRY(keep ? Tidy(root) : RemoveGitDirs(root));
    } else {
      TRY(FilesOnly());
    }
    if (!folder_.empty()) TRY(TakeSubdir(root));
    return spec_.mtime == "commit" ? SetTimes(root) : OkStatus();
  }

 private:
  std::string place() const { return folder_.empty() ? upper_ : upper_ + "/" + folder_; }

  GitCall InRepository(std::vector<std::string> args) const {
    GitCall call;
    call.args = std::move(args);
    call.cwd = call.git_dir = repository_.path();
    return call;
  }
  GitCall InPlace(std::vector<std::string> args) const {
    GitCall call;
    call.args = std::move(args);
    call.cwd = place();
    return call;
  }

  GitCall Remote(std::vector<std::string> args) const {
    GitCall call = InPlace(std::move(args));
    call.remote = true;
    return call;
  }

  Result<bool> HasSubmodules() const {
    if (spec_.skip_submodules) return false;
    TRY_ASSIGN(const GitResult result, git_.Try(InRepository({"rev-parse", "--verify", "--quiet",
                                                              revision_.commit + ":.gitmodules"})));
    return result.ok;
  }

  // Without a repository beside them, from an index that nobody else uses.
  Status FilesOnly() const {
    GitCall call = InRepository({"read-tree", "--reset", "-u", revision_.commit});
    call.cwd = call.work_tree = place();
    call.index_file = git_.directory() + "/index";
    TRY_CTX(git_.Run(call), "failed to checkout remote {}", RedactRemote(spec_.remote));
    return OkStatus();
  }

  Status FromRepositoryOfItsOwn() const {
    std::vector<std::string> init = {"init", "--quiet"};
    if (revision_.commit.size() == 64) init.emplace_back("--object-format=sha256");
    TRY(git_.Run(InPlace(std::move(init))));
    // Through the protocol: no link or file of ours comes in by way of a cloned object store.
    std::string refspec = "+" + GitRepository::RefOf(revision_);
    if (!revision_.ref.empty()) refspec += ":" + revision_.ref;
    GitCall fetch = InPlace({"fetch", "--quiet", "--update-head-ok", "--no-tags", "--depth=1", "--",
                             FileUrl(repository_.path()), refspec});
    fetch.from_disk = true;
    TRY(git_.Run(fetch));
    TRY(git_.Run(InPlace({"remote", "add", "origin", spec_.remote})));
    TRY_CTX(git_.Run(InPlace({"checkout", "--quiet", "--detach", "FETCH_HEAD"})),
            "failed to checkout remote {}", RedactRemote(spec_.remote));
    return OkStatus();
  }

  Status UpdateSubmodules() const {
    const std::vector<std::string> update = {"submodule", "update", "--progress", "--init",
                                             "--recursive"};
    std::vector<std::string> shallow = update;
    shallow.emplace_back("--depth=1");
    TRY_ASSIGN(GitResult result, git_.Try(Remote(shallow)));
    // Servers that give out only what has a name may have the commit somewhere in their history.
    if (!result.ok) {
      TRY_ASSIGN(result, git_.Try(Remote(update)));
    }
    if (result.ok) return OkStatus();
    return std::move(
        Git::Failed(InPlace(update), result)
            .AddContext("failed to update submodules for " + RedactRemote(spec_.remote)));
  }

  // What is not history: when and how it was fetched, and secrets in its URL.
  Status Tidy(const sys::RootedPath& root) const {
    TRY(git_.Run(InPlace({"remote", "set-url", "origin", RedactRemote(spec_.remote)})));
    TRY(git_.Run(InPlace({"reflog", "expire", "--all", "--expire=now"})));
    return root.RemoveTree(".git/FETCH_HEAD");
  }

  // Ours, and those of submodules; no file of a repository can have that name.
  Status RemoveGitDirs(const sys::RootedPath& root) const {
    std::vector<std::string> found;
    TRY(sys::Walk(root, folder_, [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
      if (entry.name != ".git") return sys::WalkNext::kContinue;
      found.push_back(JoinPath(folder_, entry.path));
      return sys::WalkNext::kSkipDirectory;
    }));
    for (const std::string& path : found) TRY(root.RemoveTree(path));
    return OkStatus();
  }

  // Moves the folder that was asked for to where the checkout is expected.
  Status TakeSubdir(const sys::RootedPath& root) const {
    std::string path = folder_;
    for (const std::string_view part : Split(spec_.subdir, '/')) {
      if (part.empty() || part == ".") continue;
      path.append("/").append(part);
      const auto info = root.Stat(path);
      if (part == ".." || !info.ok() || !S_ISDIR(info->mode)) {
        return Unknown("subdir {} of remote {} is not a directory", Quoted(spec_.subdir),
                       RedactRemote(spec_.remote));
      }
    }
    std::vector<std::string> names;
    TRY(sys::Walk(root, path, [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
      if (entry.name.empty()) return sys::WalkNext::kContinue;
      names.push_back(entry.name);
      return sys::WalkNext::kSkipDirectory;
    }));
    for (const std::string& name : names) TRY(root.Rename(path + "/" + name, name));
    return root.RemoveTree(folder_);
  }

  Status SetTimes(const sys::RootedPath& root) const {
    TRY_ASSIGN(const std::string out,
               git_.Run(InRepository({"show", "--no-patch", "--format=%ct", revision_.commit})));
    const auto seconds = ParseInt(Trim(out));
    if (!seconds) return Unknown("commit {} has no time", revision_.commit);
    const timespec time{static_cast<time_t>(*seconds), 0};
    const timespec times[2] = {time, time};
    return sys::Walk(root, "", [&](const sys::WalkEntry& entry) -> Result<sys::WalkNext> {
      const char* name = entry.name.empty() ? "." : entry.name.c_str();
      const int done = utimensat(entry.dir, name, times, AT_SYMLINK_NOFOLLOW);
      if (done != 0) return ErrnoError(errno, "set the time of {}", entry.path);
      return sys::WalkNext::kContinue;
    });
  }

  const llb::GitSource& spec_;
  const Git& git_;
  const GitRepository& repository_;
  const GitRevision& revision_;
  const std::string upper_;
  const std::string folder_;  // where the whole checkout lies while only a part is wanted
};

}  // namespace

Result<store::SnapshotRef> CheckOut(const Services& services, const llb::GitSource& spec,
                                    const progress::Activity& activity, const Git& git,
                                    const GitRepository& repository, const GitRevision& revision,
                                    const store::CommitOptions& options) {
  TRY_ASSIGN(store::ActiveSnapshot active, services.store.Prepare(activity, {}));
  TRY(Checkout(spec, git, repository, revision, active.upper_dir()).Run());
  return services.store.Commit(std::move(active), options);
}

}  // namespace kiln::source
