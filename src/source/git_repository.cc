#include "source/git_repository.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/strings.h"
#include "source/job_views.h"
#include "store/store.h"

namespace kiln::source {
namespace {

bool Says(const GitResult& result, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    return result.err.find(word) != std::string::npos;
  });
}

std::vector<std::string> FetchArgs(bool shallow, std::vector<std::string> more) {
  std::vector<std::string> args = {"fetch", "--progress", "--no-tags", "--force",
                                   "--update-head-ok"};
  if (shallow) args.emplace_back("--depth=1");
  args.insert(args.end(), std::make_move_iterator(more.begin()),
              std::make_move_iterator(more.end()));
  return args;
}

Result<GitRevision> AskRemote(const Git& git, const llb::GitSource& spec) {
  const bool head = spec.ref.empty() || spec.ref == "HEAD";
  GitCall call;
  call.args =
      head ? std::vector<std::string>{"ls-remote", "--symref", "--", spec.remote, "HEAD"}
           : std::vector<std::string>{"ls-remote", "--", spec.remote, spec.ref, spec.ref + "^{}"};
  call.cwd = git.directory();
  call.remote = true;
  TRY_ASSIGN_CTX(const std::string out, git.Run(call), "failed to fetch remote {}",
                 RedactRemote(spec.remote));
  return RevisionIn(out, spec);
}

}  // namespace

Result<GitRevision> ResolveRevision(const Services& services, const llb::GitSource& spec,
                                    const progress::Activity& activity) {
  GitRevision revision;
  if (IsCommitSha(spec.ref)) {
    revision.commit = spec.ref;
  } else if (spec.fetch_by_commit) {
    if (!IsCommitSha(spec.checksum)) {
      return InvalidArgument("fetching by commit needs the full checksum of the commit, got {}",
                             Quoted(spec.checksum));
    }
    revision.commit = spec.checksum;
    const bool full = spec.ref.empty() || spec.ref.starts_with("refs/");
    revision.ref = full ? spec.ref : "refs/heads/" + spec.ref;
  } else {
    const std::string key = "git " + spec.remote + "#" + spec.ref;
    if (auto seen = services.views->Find<GitRevision>(activity, key)) {
      revision = *std::move(seen);
    } else {
      TRY_ASSIGN(const std::unique_ptr<Git> git, Git::Open(services, spec, activity));
      TRY_ASSIGN(revision, AskRemote(*git, spec));
      revision = services.views->Keep(activity, key, std::move(revision));
    }
  }
  TRY(CheckGitChecksum(spec, revision));
  return revision;
}

Result<GitRepository> GitRepository::Open(const Services& services, const llb::GitSource& spec,
                                          const progress::Activity& activity, const Git& git,
                                          const std::string& commit) {
  const bool sha256 = commit.size() == 64;
  store::NamedDirOptions options;
  options.key = "git-remote::" + spec.remote + (sha256 ? "::sha256" : "");
  options.type = store::kTypeGitCheckout;
  options.description = "shared git repo for " + RedactRemote(spec.remote);
  options.sharing = store::Sharing::kLocked;
  options.keep_if_dirty = false;
  TRY_ASSIGN(store::NamedDir dir, services.store.OpenNamedDir(activity, options));
  GitRepository repository(spec, std::move(dir));
  if (repository.is_new_) TRY(repository.Initialize(git, sha256));
  return repository;
}

GitCall GitRepository::Call(std::vector<std::string> args) const {
  GitCall call;
  call.args = std::move(args);
  call.cwd = call.git_dir = path();
  return call;
}

GitCall GitRepository::Remote(std::vector<std::string> args) const {
  GitCall call = Call(std::move(args));
  call.remote = true;
  return call;
}

GitCall GitRepository::Question(std::vector<std::string> args) const {
  GitCall call = Call(std::move(args));
  call.quiet = true;
  return call;
}

Status GitRepository::Initialize(const Git& git, bool sha256) {
  TRY(dir_.MarkDirty());
  std::vector<std::string> init = {"init", "--bare", "--quiet"};
  if (sha256) init.emplace_back("--object-format=sha256");
  Status status = [&]() -> Status {
    TRY(git.Run(Call(std::move(init))));
    TRY(git.Run(Call({"remote", "add", "origin", spec_->remote})));
    return dir_.MarkClean();
  }();
  if (!status.ok()) dir_.Discard();
  return status;
}

Result<bool> GitRepository::Has(const Git& git, const GitRevision& revision) const {
  TRY_ASSIGN(const GitResult commit,
             git.Try(Question({"cat-file", "-e", revision.commit + "^{commit}"})));
  if (!commit.ok || revision.tag.empty()) return commit.ok;
  TRY_ASSIGN(const GitResult tag, git.Try(Question({"cat-file", "-e", revision.tag + "^{tag}"})));
  return tag.ok;
}

bool GitRepository::IsHealthy(const Git& git) const {
  const auto result = git.Try(Question({"rev-list", "--objects", "--quiet", "--all"}));
  return result.ok() && result->ok;
}

Result<GitResult> GitRepository::TryFetch(const Git& git, const std::string& refspec) {
  // Of an earlier life.
  unlink((path() + "/shallow.lock").c_str());
  TRY_ASSIGN(GitResult result, git.Try(Remote(FetchArgs(true, {"--", "origin", refspec}))));
  if (!result.ok && Says(result, {"depth", "shallow"})) {
    return git.Try(Remote(FetchArgs(false, {"--", "origin", refspec})));
  }
  return result;
}

Status GitRepository::Download(const Git& git, const GitRevision& revision) {
  const std::string kept = RefOf(revision);
  std::string moved;
  if (!revision.ref.empty()) {
    TRY_ASSIGN(const GitResult result, TryFetch(git, "+" + revision.ref + ":" + kept));
    if (!result.ok) return Git::Failed(Call({"fetch"}), result);
    TRY_ASSIGN(const std::string got, git.Run(Call({"rev-parse", "--verify", kept})));
    if (Trim(got) == revision.pin()) return OkStatus();
    // Somebody pushed since the ref was looked up: what it was then may still be there to have.
    moved = Trim(got);
  }
  TRY_ASSIGN(GitResult result, TryFetch(git, "+" + revision.pin() + ":" + kept));
  if (result.ok) return OkStatus();
  const bool refused = Says(result, {"not our ref", "unadvertised object", "not allow request",
                                     "couldn't find remote ref"});
  if (!refused) return Git::Failed(Call({"fetch"}), result);
  // A server that gives out only what has a name: everything, and look whether it is in there.
  std::vector<std::string> args = {"fetch", "--progress", "--tags", "--force"};
  struct stat info{};
  if (stat((path() + "/shallow").c_str(), &info) == 0) args.emplace_back("--unshallow");
  args.insert(args.end(), {"--", "origin", "+refs/heads/*:refs/remotes/origin/*"});
  TRY(git.Run(Remote(std::move(args))));
  TRY_ASSIGN(const bool has, Has(git, revision));
  if (!has && !moved.empty()) {
    return Unknown(
        "{} has moved from {} to {} since it was looked up, and the remote does not "
        "give out the former",
        revision.ref, revision.pin(), moved);
  }
  if (!has) return Unknown("repository does not contain commit {}", revision.pin());
  TRY(git.Run(Call({"update-ref", kept, revision.pin()})));
  return OkStatus();
}

Status GitRepository::Fetch(const Git& git, const GitRevision& revision) {
  TRY_ASSIGN(const bool has, Has(git, revision));
  TRY(dir_.MarkDirty());
  const auto fetch = [&]() -> Status {
    if (!has) {
      TRY_CTX(Download(git, revision), "failed to fetch remote {}", RedactRemote(spec_->remote));
    }
    TRY(git.Run(Call({"update-ref", RefOf(revision), revision.pin()})));
    return OkStatus();
  };
  Status status = fetch();
  TRY(dir_.MarkClean());
  return status;
}

}  // namespace kiln::source
