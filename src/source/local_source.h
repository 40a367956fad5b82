#pragma once

#include "llb/source_id.h"
#include "session/manager.h"
#include "source/source.h"
#include "source/sources.h"
#include "store/ref.h"

namespace kiln::source {

// local://: a folder of a client. Its key means something to one session only; what other builds
// have in common with it is found by content.
class LocalFolder final : public Source {
 public:
  LocalFolder(const Services& services, llb::LocalSource spec)
      : services_(services), spec_(std::move(spec)) {}

  Result<SourceKey> Key(const progress::Activity& activity, int part) override;
  bool shows_key() const override { return false; }
  Result<store::SnapshotRef> Fetch(const progress::Activity& activity) override;
  std::optional<Material> material() const override;

 private:
  Result<store::SnapshotRef> FetchFrom(const progress::Activity& activity,
                                       const std::string& session_id);
  Result<store::NamedDir> OpenDirectory(const progress::Activity& activity,
                                        const std::string& shared_key);
  Status Receive(const progress::Activity& activity, const session::SessionPtr& session,
                 store::NamedDir& dir);
  // The session that it names is not there, and is not one of this build's that may come.
  bool IsPinnedToNobody(const progress::Activity& activity) const;
  // "context"; with a session attribute "prefix:ID": "prefix-context".
  std::string FolderName() const;

  const Services services_;
  const llb::LocalSource spec_;
};

}  // namespace kiln::source
