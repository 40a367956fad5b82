#pragma once

#include <optional>

#include "base/mutex.h"
#include "source/http_download.h"
#include "source/source.h"

namespace kiln::source {

// http:// and https://: one file. With a checksum its key needs no server; without one the file is
// downloaded to learn the key, unless the server says that it has not changed.
class HttpFileSource final : public Source {
 public:
  HttpFileSource(const Services& services, llb::HttpSource spec)
      : services_(services), spec_(std::move(spec)) {}

  Result<SourceKey> Key(const progress::Activity& activity, int part) override;
  bool shows_key() const override { return !spec_.checksum.has_value(); }
  Result<store::SnapshotRef> Fetch(const progress::Activity& activity) override;
  std::optional<Material> material() const override;

 private:
  const Services services_;
  const llb::HttpSource spec_;
  mutable Mutex mutex_;
  std::optional<HttpFile> file_ GUARDED_BY(mutex_);
};

}  // namespace kiln::source
