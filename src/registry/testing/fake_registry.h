#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "base/digest.h"
#include "http/testing/fake_server.h"
#include "oci/descriptor.h"

namespace kiln::registry {

// A registry in memory on a loopback port, for tests of whatever pulls or pushes. Its token server
// is /token on the same port.
class FakeRegistry {
 public:
  enum class Auth { kNone, kBasic, kBearer };
  using Fault = std::function<std::optional<http::Reply>(const http::ReceivedRequest&)>;

  FakeRegistry();

  std::string host() const { return server_->host(); }
  http::FakeServer& server() { return *server_; }

  // With user "user", password "secret"; the token "good-<n>" of the last issue is valid.
  void set_auth(Auth auth) { auth_ = auth; }
  // Asked first for every request; an answer replaces the registry's own.
  void set_fault(Fault fault);

  oci::Descriptor AddBlob(const std::string& repository, const std::string& content,
                          const std::string& media_type);
  oci::Descriptor AddManifest(const std::string& repository, const std::string& tag,
                              const std::string& content, const std::string& media_type);
  // A one-platform image of the given layers (uncompressed tars, say); config and manifest are
  // made.
  oci::Descriptor AddImage(const std::string& repository, const std::string& tag,
                           const std::vector<std::string>& layers, const oci::Platform& platform);

  std::optional<std::string> Blob(const std::string& repository, const Digest& digest) const;
  std::optional<std::string> Manifest(const std::string& repository,
                                      const std::string& reference) const;
  int tokens_issued() const { return tokens_issued_; }
  // Makes every token given out so far worthless.
  void RevokeTokens();

 private:
  struct Document {
    std::string content;
    std::string media_type;
  };
  http::Reply Handle(const http::ReceivedRequest& request);
  http::Reply Serve(const http::ReceivedRequest& request);
  http::Reply ServeManifest(const http::ReceivedRequest& request, const std::string& repository,
                            const std::string& reference);
  http::Reply ServeBlob(const http::ReceivedRequest& request, const std::string& repository,
                        const std::string& digest);
  http::Reply ServeUpload(const http::ReceivedRequest& request, const std::string& repository);
  http::Reply ServeToken(const http::ReceivedRequest& request);
  std::optional<http::Reply> Challenge(const http::ReceivedRequest& request);

  Auth auth_ = Auth::kNone;
  mutable std::mutex mutex_;
  Fault fault_;
  std::map<std::string, std::map<std::string, std::string>>
      blobs_;  // repository → digest → content
  std::map<std::string, std::map<std::string, Document>> manifests_;  // repository → tag or digest
  int tokens_issued_ = 0;
  std::string valid_token_;
  int uploads_ = 0;
  std::map<std::string, std::string> parts_;  // upload's path → what came so far
  std::unique_ptr<http::FakeServer> server_;
};

}  // namespace kiln::registry
