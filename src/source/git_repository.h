#pragma once

// Inside source only.

#include <string>

#include "source/git_command.h"
#include "source/git_revision.h"
#include "store/ref.h"

namespace kiln::source {

// Asks the remote what the source's ref is; nothing is asked if it names a commit. Blocks.
Result<GitRevision> ResolveRevision(const Services& services, const llb::GitSource& spec,
                                    const progress::Activity& activity);

// The bare repository that all builds share for a remote: what they fetched stays in it. One holder
// at a time.
class GitRepository {
 public:
  // Waits until it is free. `commit` tells the kind of object names.
  static Result<GitRepository> Open(const Services& services, const llb::GitSource& spec,
                                    const progress::Activity& activity, const Git& git,
                                    const std::string& commit);

  // Afterwards it has the commit with all its files (and the tag), under ref(). May download.
  Status Fetch(const Git& git, const GitRevision& revision);
  // Whether all objects are there that its refs name.
  bool IsHealthy(const Git& git) const;
  // A ref of its own that holds the revision.
  static std::string RefOf(const GitRevision& revision) { return "refs/kiln/" + revision.pin(); }

  const std::string& path() const { return dir_.path(); }
  // Whether anything was there before Open.
  bool is_new() const { return is_new_; }
  // It is damaged: gone with this.
  void Discard() { dir_.Discard(); }

 private:
  GitRepository(const llb::GitSource& spec, store::NamedDir dir)
      : spec_(&spec), dir_(std::move(dir)), is_new_(dir_.is_new()) {}
  GitCall Call(std::vector<std::string> args) const;
  GitCall Question(std::vector<std::string> args) const;
  GitCall Remote(std::vector<std::string> args) const;
  Status Initialize(const Git& git, bool sha256);
  Status Download(const Git& git, const GitRevision& revision);
  Result<bool> Has(const Git& git, const GitRevision& revision) const;
  // Whether git could fetch this with `--depth=1`, or without where the remote cannot do that.
  Result<GitResult> TryFetch(const Git& git, const std::string& refspec);

  const llb::GitSource* spec_;
  store::NamedDir dir_;
  bool is_new_ = false;
};

}  // namespace kiln::source
