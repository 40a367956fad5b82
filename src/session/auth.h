#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "base/time.h"
#include "progress/activity.h"
#include "session/session.h"

// Registry credentials of a client (moby.filesync.v1.Auth). `control` adapts these to
// registry::CredentialProvider. Unimplemented or Unavailable: the client does not offer it. Each
// call ends with its activity.
namespace kiln::session {

struct ClientCredentials {
  std::string username;
  SecretString secret;
};
Result<ClientCredentials> GetCredentials(const progress::Activity& activity, Session& session,
                                         const std::string& host);

struct ClientTokenRequest {
  std::string client_id;
  std::string host;
  std::string realm;
  std::string service;
  std::vector<std::string> scopes;
};
struct ClientToken {
  SecretString token;
  std::chrono::seconds expires_in{0};  // 0: not said
  WallTime issued_at{};                // not set: not said
};
Result<ClientToken> FetchToken(const progress::Activity& activity, Session& session,
                               const ClientTokenRequest& request);

// The key for which the client fetches tokens itself; empty if it does not.
Result<std::string> GetTokenAuthority(const progress::Activity& activity, Session& session,
                                      const std::string& host, std::string_view salt);
// The client's answer: 64 bytes of Ed25519 signature, then the message.
Result<std::string> VerifyTokenAuthority(const progress::Activity& activity, Session& session,
                                         const std::string& host, std::string_view payload,
                                         std::string_view salt);

}  // namespace kiln::session
