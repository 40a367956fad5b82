#pragma once

// Inside source only.

#include "source/git_repository.h"

namespace kiln::source {

// The files of a revision as a new snapshot. The repository has the revision.
Result<store::SnapshotRef> CheckOut(const Services& services, const llb::GitSource& spec,
                                    const progress::Activity& activity, const Git& git,
                                    const GitRepository& repository, const GitRevision& revision,
                                    const store::CommitOptions& options);

}  // namespace kiln::source
