#include "source/session_credentials.h"

#include <algorithm>

#include "base/error.h"
#include "session/auth.h"

namespace kiln::source {

progress::Activity SessionCredentials::Bounded(const progress::Activity& activity) const {
  return timeout_.count() > 0 ? activity.WithTimeout(timeout_) : activity;
}

Result<registry::Credentials> SessionCredentials::GetCredentials(const progress::Activity& activity,
                                                                 const std::string& session_id,
                                                                 const std::string& host) {
  TRY_ASSIGN(const session::SessionPtr session, sessions_.Get(Bounded(activity), session_id));
  TRY_ASSIGN(session::ClientCredentials found,
             session::GetCredentials(Bounded(activity), *session, host));
  return registry::Credentials{std::move(found.username), std::move(found.secret)};
}

Result<std::optional<registry::TokenAuthorityKey>> SessionCredentials::GetTokenAuthority(
    const progress::Activity& activity, const std::string& session_id, const std::string& host,
    std::string_view salt) {
  TRY_ASSIGN(const session::SessionPtr session, sessions_.Get(Bounded(activity), session_id));
  TRY_ASSIGN(const std::string key,
             session::GetTokenAuthority(Bounded(activity), *session, host, salt));
  registry::TokenAuthorityKey out{};
  if (key.size() != out.size()) return std::optional<registry::TokenAuthorityKey>();
  std::copy(key.begin(), key.end(), out.begin());
  return std::optional(out);
}

Result<registry::Token> SessionCredentials::FetchToken(const progress::Activity& activity,
                                                       const std::string& session_id,
                                                       const registry::TokenRequest& request) {
  TRY_ASSIGN(const session::SessionPtr session, sessions_.Get(Bounded(activity), session_id));
  TRY_ASSIGN(session::ClientToken token,
             session::FetchToken(Bounded(activity), *session,
                                 {.client_id = std::string(registry::kTokenClientId),
                                  .host = request.host,
                                  .realm = request.realm,
                                  .service = request.service,
                                  .scopes = request.scopes}));
  return registry::Token{.token = std::move(token.token),
                         .expires_in = token.expires_in,
                         .issued_at = token.issued_at};
}

Result<std::string> SessionCredentials::VerifyTokenAuthority(const progress::Activity& activity,
                                                             const std::string& session_id,
                                                             const std::string& host,
                                                             std::string_view payload,
                                                             std::string_view salt) {
  TRY_ASSIGN(const session::SessionPtr session, sessions_.Get(Bounded(activity), session_id));
  return session::VerifyTokenAuthority(Bounded(activity), *session, host, payload, salt);
}

}  // namespace kiln::source
