#pragma once

// Inside registry only.

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "http/client.h"
#include "http/retry.h"
#include "registry/authorizer.h"
#include "registry/gate.h"

namespace kiln::registry {

// What a session is asked with: who, where, and what for.
struct AuthContext {
  http::Client& client;
  const Clock& clock;
  CredentialProvider* credentials;  // null: anonymous
  const std::string& salt;
  const http::RetryPolicy& retry;
};

// How one host wants to be authorized for one session: scheme, realm, service, credentials or key,
// tokens. Shared by the sessions that proved to be entitled to it. Thread-safe.
class AuthHandler {
 public:
  AuthHandler(std::string session_id, const Challenge& challenge)
      : session_id_(std::move(session_id)),
        scheme_(challenge.scheme),
        realm_(challenge.Get("realm")),
        service_(challenge.Get("service")) {}

  const std::string& session_id() const { return session_id_; }
  bool bearer() const { return scheme_ == "bearer"; }
  // Whether the challenge is the one this was made for.
  bool Fits(const Challenge& challenge) const;

  // The header's value; fetches credentials or a token if need be.
  Result<SecretString> Header(const AuthContext& context, const progress::Activity& activity,
                              const AuthAttempt& attempt);
  // The registry did not take it.
  void Drop(const std::string& header);
  // Whether `session_id` may use what this one got.
  bool Verify(const AuthContext& context, const progress::Activity& activity,
              const std::string& host, const std::string& session_id);

  std::atomic<int64_t> last_used_ns{0};

 private:
  struct TokenSlot {
    Gate fetching;
    Mutex mutex;
    SecretString header GUARDED_BY(mutex);
    SteadyTime until GUARDED_BY(mutex){};
  };
  // The session's answer: either a key (it fetches tokens itself) or credentials.
  struct Identity {
    std::optional<TokenAuthorityKey> key;
    Credentials credentials;
  };

  Result<Identity> AskIdentity(const AuthContext& context, const progress::Activity& activity,
                               const std::string& host) const;
  Result<Identity> GetIdentity(const AuthContext& context, const progress::Activity& activity,
                               const std::string& host);
  Result<Token> FetchToken(const AuthContext& context, const progress::Activity& activity,
                           const AuthAttempt& attempt);
  Result<SecretString> BearerHeader(const AuthContext& context, const progress::Activity& activity,
                                    const AuthAttempt& attempt);
  std::shared_ptr<TokenSlot> SlotOf(const std::string& scopes);

  const std::string session_id_;
  const std::string scheme_;
  const std::string realm_;
  const std::string service_;

  Gate asking_;
  Mutex mutex_;
  std::optional<Identity> identity_ GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<TokenSlot>> tokens_ GUARDED_BY(mutex_);
};

// Whether `signed_message` (64 bytes of Ed25519 signature, then the message) is `payload` signed by
// `key`.
bool VerifySignature(const TokenAuthorityKey& key, std::string_view signed_message,
                     std::string_view payload);

}  // namespace kiln::registry
