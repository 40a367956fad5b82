#include "registry/auth_handler.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <utility>

#include "base/error.h"
#include "base/ids.h"
#include "registry/token.h"

namespace kiln::registry {
namespace {

constexpr size_t kPayloadBytes = 32;
constexpr size_t kSignatureBytes = 64;
constexpr size_t kMaxTokens = 256;

bool SameSecret(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// The client does not offer this service: not an error, there is another way.
bool NotOffered(const Error& error) {
  return error.code() == Code::kUnimplemented || error.code() == Code::kUnavailable;
}

}  // namespace

bool VerifySignature(const TokenAuthorityKey& key, std::string_view signed_message,
                     std::string_view payload) {
  if (signed_message.size() != kSignatureBytes + payload.size()) return false;
  const std::string_view message = signed_message.substr(kSignatureBytes);
  if (CRYPTO_memcmp(message.data(), payload.data(), payload.size()) != 0) return false;
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()),
      &EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (!pkey || !context) return false;
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) != 1) return false;
  const auto* bytes = reinterpret_cast<const unsigned char*>(signed_message.data());
  return EVP_DigestVerify(context.get(), bytes, kSignatureBytes, bytes + kSignatureBytes,
                          payload.size()) == 1;
}

bool AuthHandler::Fits(const Challenge& challenge) const {
  return challenge.scheme == scheme_ && challenge.Get("realm") == realm_ &&
         challenge.Get("service") == service_;
}

Result<AuthHandler::Identity> AuthHandler::AskIdentity(const AuthContext& context,
                                                       const progress::Activity& activity,
                                                       const std::string& host) const {
  Identity identity;
  if (context.credentials == nullptr || session_id_.empty()) return identity;
  if (bearer()) {
    auto key = context.credentials->GetTokenAuthority(activity, session_id_, host, context.salt);
    if (key.ok() && key->has_value()) {
      identity.key = **key;
      return identity;
    }
    if (!key.ok() && !NotOffered(key.error())) return std::move(key).error();
  }
  auto credentials = context.credentials->GetCredentials(activity, session_id_, host);
  if (credentials.ok()) {
    identity.credentials = *std::move(credentials);
  } else if (!NotOffered(credentials.error())) {
    return std::move(credentials).error();
  }
  return identity;
}

Result<AuthHandler::Identity> AuthHandler::GetIdentity(const AuthContext& context,
                                                       const progress::Activity& activity,
                                                       const std::string& host) {
  TRY_ASSIGN(const auto asking, asking_.Enter(activity));
  {
    const MutexLock lock(mutex_);
    if (identity_) return *identity_;
  }
  TRY_ASSIGN(Identity identity, AskIdentity(context, activity, host));
  const MutexLock lock(mutex_);
  identity_ = identity;
  return identity;
}

Result<Token> AuthHandler::FetchToken(const AuthContext& context,
                                      const progress::Activity& activity,
                                      const AuthAttempt& attempt) {
  const TokenRequest request{
      .host = attempt.host, .realm = realm_, .service = service_, .scopes = attempt.scopes.List()};
  TRY_ASSIGN(const Identity identity, GetIdentity(context, activity, attempt.host));
  if (identity.key) {
    return context.credentials->FetchToken(activity, session_id_, request);
  }
  return FetchTokenFromRealm(context.client, activity, request, identity.credentials, attempt.tls,
                             attempt.secure, context.retry);
}

std::shared_ptr<AuthHandler::TokenSlot> AuthHandler::SlotOf(const std::string& scopes) {
  const MutexLock lock(mutex_);
  if (tokens_.size() > kMaxTokens) tokens_.clear();
  auto& slot = tokens_[scopes];
  if (!slot) slot = std::make_shared<TokenSlot>();
  return slot;
}

Result<SecretString> AuthHandler::BearerHeader(const AuthContext& context,
                                               const progress::Activity& activity,
                                               const AuthAttempt& attempt) {
  const std::shared_ptr<TokenSlot> slot = SlotOf(attempt.scopes.ToString());
  // One fetch for all that wait for the same token.
  TRY_ASSIGN(const auto fetching, slot->fetching.Enter(activity));
  {
    const MutexLock lock(slot->mutex);
    if (!slot->header.empty() && context.clock.Steady() < slot->until) return slot->header;
  }
  TRY_ASSIGN(const Token token, FetchToken(context, activity, attempt));
  if (token.token.empty()) return Unauthenticated("no token for {}", attempt.host);
  const MutexLock lock(slot->mutex);
  slot->header = SecretString("Bearer " + token.token.Reveal());
  slot->until = TokenDeadline(token, context.clock);
  return slot->header;
}

Result<SecretString> AuthHandler::Header(const AuthContext& context,
                                         const progress::Activity& activity,
                                         const AuthAttempt& attempt) {
  if (bearer()) return BearerHeader(context, activity, attempt);
  TRY_ASSIGN(const Identity identity, GetIdentity(context, activity, attempt.host));
  if (identity.credentials.username.empty())
    return Unauthenticated("authorization failed: no basic auth credentials");
  return BasicHeader(identity.credentials);
}

void AuthHandler::Drop(const std::string& header) {
  const MutexLock lock(mutex_);
  if (!bearer()) {
    // The user may log in again: ask anew next time.
    identity_.reset();
    return;
  }
  std::erase_if(tokens_, [&](const auto& item) {
    const MutexLock slot_lock(item.second->mutex);
    return SameSecret(item.second->header.Reveal(), header);
  });
}

bool AuthHandler::Verify(const AuthContext& context, const progress::Activity& activity,
                         const std::string& host, const std::string& session_id) {
  if (context.credentials == nullptr || session_id.empty()) return false;
  std::optional<Identity> identity;
  {
    const MutexLock lock(mutex_);
    identity = identity_;
  }
  if (!identity) return false;
  if (identity->key) {
    const std::string payload = RandomBytes(kPayloadBytes);
    auto answer = context.credentials->VerifyTokenAuthority(activity, session_id, host, payload,
                                                            context.salt);
    return answer.ok() && VerifySignature(*identity->key, *answer, payload);
  }
  auto credentials = context.credentials->GetCredentials(activity, session_id, host);
  if (!credentials.ok()) return false;
  return SameSecret(credentials->username, identity->credentials.username) &&
         SameSecret(credentials->secret.Reveal(), identity->credentials.secret.Reveal());
}

}  // namespace kiln::registry
