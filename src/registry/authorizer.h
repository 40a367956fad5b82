#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "http/client.h"
#include "http/retry.h"
#include "progress/activity.h"
#include "registry/challenge.h"
#include "registry/credentials.h"
#include "registry/hosts.h"

namespace kiln::registry {

// What one (host, purpose, session) knows about authorization; see authorizer.cc.
class AuthHandler;

// One request's way through the sessions that may authorize it. Made per request, used by one
// thread.
struct AuthAttempt {
  std::string host;  // credentials' host
  Purpose purpose = Purpose::kPull;
  http::TlsOptions tls;
  bool secure = false;  // reached over verified HTTPS
  ScopeSet scopes;
  std::vector<std::string> sessions;  // at least one; "" is anonymous
  size_t current = 0;
  // Of the last request sent.
  std::string sent_token;
  std::shared_ptr<AuthHandler> sent_by;
  // The registry has asked for authorization in this attempt, for the current session.
  bool challenged = false;
  // The current session's token or password was refused once already.
  bool refused = false;
  std::optional<Error> last_error;
};

// Authorizes requests to registries: keeps challenges and tokens per host and session. Safe from
// any thread; a session that does not answer delays only those who need that session's answer.
class Authorizer {
 public:
  // `retry` is for token servers.
  Authorizer(http::Client& client, const Clock& clock, CredentialProvider* credentials,
             const http::RetryPolicy& retry);
  ~Authorizer();

  // The Authorization header to send now, empty if none is known to be needed. Goes on to the next
  // session when one fails; an error when all have.
  Result<SecretString> Header(const progress::Activity& activity, AuthAttempt& attempt);

  // After a 401. OK: ask for Header again and repeat the request. An error: final, with upstream's
  // wording
  // ("authorization failed").
  Status OnUnauthorized(const progress::Activity& activity, AuthAttempt& attempt,
                        const http::Response& response);

 private:
  using Key = std::tuple<std::string, Purpose, std::string>;

  std::shared_ptr<AuthHandler> Find(const AuthAttempt& attempt);
  std::shared_ptr<AuthHandler> FindShared(const progress::Activity& activity,
                                          const AuthAttempt& attempt);
  std::shared_ptr<AuthHandler> Make(const AuthAttempt& attempt, const Challenge& challenge);
  Status NextSession(AuthAttempt& attempt, Error why);
  Status OnRefused(AuthAttempt& attempt, const Challenge* bearer);
  void DropIdle() REQUIRES(mutex_);

  http::Client& client_;
  const Clock& clock_;
  CredentialProvider* const credentials_;
  const http::RetryPolicy retry_;
  const std::string salt_;

  Mutex mutex_;
  std::map<Key, std::shared_ptr<AuthHandler>> handlers_ GUARDED_BY(mutex_);
};

}  // namespace kiln::registry
