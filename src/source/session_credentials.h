#pragma once

#include <string>

#include "registry/credentials.h"
#include "session/manager.h"

namespace kiln::source {

// Registry credentials from the clients of a session manager, which outlives this. A client has
// `timeout` to answer; 0: any time.
class SessionCredentials final : public registry::CredentialProvider {
 public:
  explicit SessionCredentials(session::Manager& sessions,
                              nanoseconds timeout = std::chrono::seconds(60))
      : sessions_(sessions), timeout_(timeout) {}

  Result<registry::Credentials> GetCredentials(const progress::Activity& activity,
                                               const std::string& session_id,
                                               const std::string& host) override;
  Result<std::optional<registry::TokenAuthorityKey>> GetTokenAuthority(
      const progress::Activity& activity, const std::string& session_id, const std::string& host,
      std::string_view salt) override;
  Result<registry::Token> FetchToken(const progress::Activity& activity,
                                     const std::string& session_id,
                                     const registry::TokenRequest& request) override;
  Result<std::string> VerifyTokenAuthority(const progress::Activity& activity,
                                           const std::string& session_id, const std::string& host,
                                           std::string_view payload,
                                           std::string_view salt) override;

 private:
  progress::Activity Bounded(const progress::Activity& activity) const;

  session::Manager& sessions_;
  const nanoseconds timeout_;
};

}  // namespace kiln::source
