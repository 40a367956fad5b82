#pragma once

#include "base/clock.h"
#include "http/client.h"
#include "http/retry.h"
#include "progress/activity.h"
#include "registry/credentials.h"

namespace kiln::registry {

// Gets a token from the realm itself (the client's credentials are known here, or there are none):
// GET, with a secret Basic first, then the OAuth POST where the server wants that. `secure`: the
// registry was reached over verified HTTPS, so credentials are not sent to a plain-HTTP realm.
// What may pass is tried again as `retry` says.
Result<Token> FetchTokenFromRealm(http::Client& client, const progress::Activity& activity,
                                  const TokenRequest& request, const Credentials& credentials,
                                  const http::TlsOptions& tls, bool secure,
                                  const http::RetryPolicy& retry);

// Until when a token is used: 0.9 of its lifetime.
SteadyTime TokenDeadline(const Token& token, const Clock& clock);

// "Basic …".
SecretString BasicHeader(const Credentials& credentials);

}  // namespace kiln::registry
