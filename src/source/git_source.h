#pragma once

#include <optional>

#include "base/mutex.h"
#include "source/git_repository.h"
#include "source/source.h"

namespace kiln::source {

// git://: the files of one revision of a remote. Its key names the commit, so a source that says
// which commit it wants needs no network to be found in the cache.
class GitTree final : public Source {
 public:
  GitTree(const Services& services, llb::GitSource spec)
      : services_(services), spec_(std::move(spec)) {}

  Result<SourceKey> Key(const progress::Activity& activity, int part) override;
  bool shows_key() const override { return !IsCommitSha(spec_.ref); }
  Result<store::SnapshotRef> Fetch(const progress::Activity& activity) override;
  std::optional<Material> material() const override;

 private:
  Result<GitRevision> Revision(const progress::Activity& activity);
  std::string KeyOf(const GitRevision& revision) const;
  // A snapshot that an earlier build made of this revision; scratch if there is none.
  Result<store::SnapshotRef> Earlier(const std::string& label) const;
  Result<store::SnapshotRef> Make(const progress::Activity& activity, const GitRevision& revision,
                                  const std::string& label);
  Result<store::SnapshotRef> MakeOnce(const progress::Activity& activity,
                                      const GitRevision& revision, const std::string& label,
                                      bool* damaged);

  const Services services_;
  const llb::GitSource spec_;
  mutable Mutex mutex_;
  std::optional<GitRevision> revision_ GUARDED_BY(mutex_);
};

}  // namespace kiln::source
