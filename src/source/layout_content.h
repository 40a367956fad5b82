#pragma once

// Inside source only.

#include <string>

#include "oci/descriptor.h"
#include "progress/activity.h"
#include "registry/registry.h"
#include "session/manager.h"

namespace kiln::source {

// A content store that a client offers: an OCI layout folder of its.
class LayoutContent {
 public:
  // Without a session id any session of the activity that has the store will do.
  LayoutContent(session::Manager& sessions, std::string session_id, std::string store_id)
      : sessions_(sessions), session_id_(std::move(session_id)), store_id_(std::move(store_id)) {}

  const std::string& store_id() const { return store_id_; }

  // Continues at sink.offset(). The size is checked, the digest is the sink's business.
  Status Read(const progress::Activity& activity, const oci::Descriptor& blob,
              registry::BlobSink& sink) const;
  // A whole document, digest verified. `size` of the descriptor is not needed.
  Result<std::string> ReadSmall(const progress::Activity& activity, const Digest& digest,
                                size_t limit) const;
  Result<int64_t> Stat(const progress::Activity& activity, const Digest& digest) const;

 private:
  template <typename Call>
  std::invoke_result_t<Call, session::Session&> AtSession(const progress::Activity& activity,
                                                          const Call& call) const;

  session::Manager& sessions_;
  const std::string session_id_;
  const std::string store_id_;
};

}  // namespace kiln::source
