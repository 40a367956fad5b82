#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "archive/stream.h"
#include "base/digest.h"
#include "base/result.h"
#include "progress/activity.h"
#include "session/session.h"

// Content stores of a client (containerd.services.content.v1 with a store id) and uploads
// (moby.upload.v1). Store ids: "oci:<store>" for oci-layout sources, "local:<path>" for local
// cache, "export" for directory OCI outputs.
namespace kiln::session {

struct ContentInfo {
  Digest digest;
  int64_t size = 0;
  std::map<std::string, std::string> labels;
};

// NotFound: unknown store or blob.
Result<ContentInfo> StatContent(const progress::Activity& activity, Session& session,
                                const std::string& store, const Digest& digest);
// Writes the blob from `offset` to its end into `sink`. Does not verify the digest.
Status ReadContent(const progress::Activity& activity, Session& session, const std::string& store,
                   const Digest& digest, int64_t offset, archive::ByteSink& sink);
// Stores `size` bytes of `source` as `digest`. A store that has the blob already is success
// (`source` is then not read to its end).
Status WriteContent(const progress::Activity& activity, Session& session, const std::string& store,
                    const Digest& digest, int64_t size, archive::ByteSource& source);

// What the client offers once under http://buildkit-session/<path>.
Status PullUpload(const progress::Activity& activity, Session& session, const std::string& path,
                  const std::string& host, archive::ByteSink& sink);

}  // namespace kiln::session
