#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "base/time.h"
#include "progress/activity.h"

namespace kiln::registry {

// Empty username and secret: anonymous. Empty username with a secret: an identity (refresh) token.
struct Credentials {
  std::string username;
  SecretString secret;

  bool anonymous() const { return username.empty() && secret.empty(); }
};

// What a registry's Bearer challenge asks for.
struct TokenRequest {
  std::string host;
  std::string realm;
  std::string service;
  std::vector<std::string> scopes;  // sorted
};

struct Token {
  SecretString token;
  std::chrono::seconds expires_in{0};  // 0: 60 s
  WallTime issued_at{};                // not set: now
};

// Ed25519.
using TokenAuthorityKey = std::array<uint8_t, 32>;

inline constexpr std::string_view kTokenClientId = "buildkit-client";

// Who knows a client's credentials; `session` implements it over moby.filesync.v1.Auth
// (wire-control-session §8.1). Called from worker threads, by several at once; each call ends with
// the activity, and has a time limit of its own. Sessions are tried by the caller, one id a call.
// Errors: NotFound (session gone), Unimplemented or Unavailable (the client does not offer this).
class CredentialProvider {
 public:
  virtual ~CredentialProvider() = default;

  virtual Result<Credentials> GetCredentials(const progress::Activity& activity,
                                             const std::string& session_id,
                                             const std::string& host) = 0;

  // The key for which the client fetches tokens itself; nothing: it does not, use GetCredentials.
  virtual Result<std::optional<TokenAuthorityKey>> GetTokenAuthority(
      const progress::Activity& activity, const std::string& session_id, const std::string& host,
      std::string_view salt) = 0;

  // ClientID is kTokenClientId.
  virtual Result<Token> FetchToken(const progress::Activity& activity,
                                   const std::string& session_id, const TokenRequest& request) = 0;

  // The client's answer: 64 bytes of signature, then the payload.
  virtual Result<std::string> VerifyTokenAuthority(const progress::Activity& activity,
                                                   const std::string& session_id,
                                                   const std::string& host,
                                                   std::string_view payload,
                                                   std::string_view salt) = 0;
};

}  // namespace kiln::registry
