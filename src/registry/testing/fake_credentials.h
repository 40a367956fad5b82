#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>

#include "base/error.h"
#include "registry/credentials.h"

namespace kiln::registry {

// Clients with passwords, by session id.
class FakeCredentials final : public CredentialProvider {
 public:
  std::map<std::string, Credentials> by_session;
  // Set: clients fetch tokens themselves.
  std::function<Result<std::optional<TokenAuthorityKey>>(const std::string& session)> authority;
  std::function<Result<Token>(const std::string& session, const TokenRequest&)> fetch;
  std::function<Result<std::string>(const std::string& session, std::string_view payload)> verify;
  std::atomic<int> asked{0};

  Result<Credentials> GetCredentials(const progress::Activity& /*activity*/,
                                     const std::string& session_id,
                                     const std::string& /*host*/) override {
    ++asked;
    const auto it = by_session.find(session_id);
    if (it == by_session.end()) return NotFound("no active session for {}", session_id);
    return it->second;
  }
  Result<std::optional<TokenAuthorityKey>> GetTokenAuthority(const progress::Activity& /*activity*/,
                                                             const std::string& session_id,
                                                             const std::string& /*host*/,
                                                             std::string_view /*salt*/) override {
    if (!authority) return Unimplemented("no token authority");
    return authority(session_id);
  }
  Result<Token> FetchToken(const progress::Activity& /*activity*/, const std::string& session_id,
                           const TokenRequest& request) override {
    return fetch(session_id, request);
  }
  Result<std::string> VerifyTokenAuthority(const progress::Activity& /*activity*/,
                                           const std::string& session_id,
                                           const std::string& /*host*/, std::string_view payload,
                                           std::string_view /*salt*/) override {
    if (!verify) return Unimplemented("no token authority");
    return verify(session_id, payload);
  }
};

}  // namespace kiln::registry
