#include "source/git_source.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "llb/source_key.h"
#include "source/git_checkout.h"
#include "store/store.h"

namespace kiln::source {
namespace {

constexpr const char* kSnapshotLabel = "git.snapshot";

}  // namespace

std::string GitTree::KeyOf(const GitRevision& revision) const {
  return llb::GitKey(spec_, spec_.keep_git_dir ? revision.pin() : revision.commit, revision.ref);
}

Result<GitRevision> GitTree::Revision(const progress::Activity& activity) {
  {
    const MutexLock lock(mutex_);
    if (revision_) return *revision_;
  }
  TRY_ASSIGN(GitRevision revision, ResolveRevision(services_, spec_, activity));
  const MutexLock lock(mutex_);
  revision_ = revision;
  return revision;
}

Result<SourceKey> GitTree::Key(const progress::Activity& activity, int /*part*/) {
  TRY_ASSIGN(const GitRevision revision, Revision(activity));
  SourceKey key;
  key.key = KeyOf(revision);
  key.parts = {
      {"remote", RedactRemote(spec_.remote)}, {"ref", revision.ref}, {"commit", revision.commit}};
  return key;
}

Result<store::SnapshotRef> GitTree::Earlier(const std::string& label) const {
  TRY_ASSIGN(std::vector<store::SnapshotRef> refs,
             services_.store.FindByLabel(kSnapshotLabel, label));
  return refs.empty() ? store::SnapshotRef() : std::move(refs.front());
}

Result<store::SnapshotRef> GitTree::Fetch(const progress::Activity& activity) {
  TRY_ASSIGN(const GitRevision revision, Revision(activity));
  std::string label = KeyOf(revision) + "\n" + spec_.subdir;
  // Its origin is part of what is kept.
  if (spec_.keep_git_dir) label += "\n" + RedactRemote(spec_.remote);
  TRY_ASSIGN(store::SnapshotRef known, Earlier(label));
  if (known) return known;
  return Make(activity, revision, label);
}

Result<store::SnapshotRef> GitTree::MakeOnce(const progress::Activity& activity,
                                             const GitRevision& revision, const std::string& label,
                                             bool* damaged) {
  TRY_ASSIGN(const std::unique_ptr<Git> git, Git::Open(services_, spec_, activity));
  TRY_ASSIGN(GitRepository repository,
             GitRepository::Open(services_, spec_, activity, *git, revision.commit));
  // Somebody else may have made it while we waited for the repository.
  TRY_ASSIGN(store::SnapshotRef known, Earlier(label));
  if (known) return known;
  store::CommitOptions options;
  options.type = store::kTypeGitCheckout;
  // Without a ref: the branch that HEAD names.
  std::string_view asked = revision.ref.empty() ? revision.commit : revision.ref;
  if (asked.starts_with("refs/heads/")) asked.remove_prefix(std::string_view("refs/heads/").size());
  options.description = fmt::format("git snapshot for {}#{}", RedactRemote(spec_.remote),
                                    spec_.ref.empty() ? asked : spec_.ref);
  options.labels[kSnapshotLabel] = label;
  const auto make = [&]() -> Result<store::SnapshotRef> {
    TRY(repository.Fetch(*git, revision));
    return CheckOut(services_, spec_, activity, *git, repository, revision, options);
  };
  auto ref = make();
  if (ref.ok()) return ref;
  if (!activity.Check().ok()) {
    // A git that had to be killed may have left anything.
    repository.Discard();
  } else if (!repository.is_new() && !repository.IsHealthy(*git)) {
    // What was fetched long ago is damaged.
    repository.Discard();
    *damaged = true;
  }
  return ref;
}

Result<store::SnapshotRef> GitTree::Make(const progress::Activity& activity,
                                         const GitRevision& revision, const std::string& label) {
  bool damaged = false;
  auto ref = MakeOnce(activity, revision, label, &damaged);
  if (!damaged) return ref;
  LOG_INFO("git repository of {}: {}; fetching it anew", RedactRemote(spec_.remote), ref.error());
  return MakeOnce(activity, revision, label, &damaged);
}

std::optional<Material> GitTree::material() const {
  const MutexLock lock(mutex_);
  if (!revision_) return std::nullopt;
  return Material{.kind = Material::Kind::kGit,
                  .name = RedactRemote(spec_.remote) + (spec_.ref.empty() ? "" : "#" + spec_.ref),
                  .digest = revision_->pin(),
                  .platform = std::nullopt};
}

namespace {

Result<GitMeta> AskFor(const Services& services, const progress::Activity& activity,
                       const llb::GitSource& spec, bool objects) {
  TRY_ASSIGN(const GitRevision revision, ResolveRevision(services, spec, activity));
  GitMeta meta;
  meta.checksum = revision.pin();
  meta.ref = revision.ref.empty() ? revision.commit : revision.ref;
  if (!revision.tag.empty()) meta.commit_checksum = revision.commit;
  if (!objects) return meta;
  TRY_ASSIGN(const std::unique_ptr<Git> git, Git::Open(services, spec, activity));
  TRY_ASSIGN(GitRepository repository,
             GitRepository::Open(services, spec, activity, *git, revision.commit));
  TRY(repository.Fetch(*git, revision));
  const auto object = [&](const char* type, const std::string& id) {
    GitCall call;
    call.args = {"cat-file", type, id};
    call.cwd = call.git_dir = repository.path();
    return git->Run(call);
  };
  TRY_ASSIGN(meta.commit_object, object("commit", revision.commit));
  if (!revision.tag.empty()) {
    TRY_ASSIGN(meta.tag_object, object("tag", revision.tag));
  }
  return meta;
}

}  // namespace

Result<GitMeta> Sources::ResolveGit(const progress::Activity& activity, const llb::GitSource& spec,
                                    bool objects, MetaCache* cache) const {
  TRY(CheckServed(spec.other));
  const llb::SourceSpec text = llb::Format(spec);
  std::string key = fmt::format("git\n{}\n{}", text.identifier, objects);
  for (const auto& [name, value] : text.attrs) key += "\n" + name + "=" + value;
  if (cache != nullptr) {
    if (auto known = cache->FindGit(key)) return *std::move(known);
  }
  TRY_ASSIGN(GitMeta meta, AskFor(services_, activity, spec, objects));
  if (cache != nullptr) cache->PutGit(key, meta);
  return meta;
}

}  // namespace kiln::source
