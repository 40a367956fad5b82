#include "client/registry_auth.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/fd.h"
#include "base/strings.h"
#include "rpc/status.h"

namespace kiln::client {
namespace {

namespace pb = moby::filesync::v1;

constexpr size_t kSeedBytes = 16;
constexpr size_t kKeyBytes = 32;
constexpr size_t kSignatureBytes = 64;
constexpr size_t kMaxSeedFile = 4 << 20;
// Helpers may give passwords of five minutes.
constexpr std::chrono::seconds kLoginTime{290};

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

bool WantsPasswordsAsked() {
  const char* value = std::getenv("BUILDKIT_NO_CLIENT_TOKEN");
  if (value == nullptr) return false;
  const std::string text = ToLower(value);
  return text == "1" || text == "t" || text == "true";
}

Result<Key> KeyOf(const SecretString& seed) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(seed.Reveal().data());
  Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes, seed.Reveal().size()),
          &EVP_PKEY_free);
  if (!key) return Internal("cannot make an Ed25519 key");
  return key;
}

Result<std::string> PublicKeyOf(const SecretString& seed) {
  TRY_ASSIGN(const Key key, KeyOf(seed));
  std::string out(kKeyBytes, '\0');
  size_t size = out.size();
  if (EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(out.data()), &size) !=
          1 ||
      size != kKeyBytes) {
    return Internal("cannot read an Ed25519 key");
  }
  return out;
}

// The signature, then the message.
Result<std::string> Sign(const SecretString& seed, const std::string& message) {
  TRY_ASSIGN(const Key key, KeyOf(seed));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  std::string out(kSignatureBytes, '\0');
  size_t size = out.size();
  const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
  if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes,
                     message.size()) != 1) {
    return Internal("cannot sign");
  }
  return out + message;
}

// The seed of `host` in the file's text, if there is one.
std::string SeedIn(const nlohmann::json& seeds, const std::string& host) {
  if (!seeds.is_object()) return "";
  const auto entry = seeds.find(host);
  if (entry == seeds.end() || !entry->is_object()) return "";
  const auto text = entry->find("Seed");
  if (text == entry->end() || !text->is_string()) return "";
  return Base64Decode(text->get_ref<const std::string&>()).value_or("");
}

}  // namespace

Result<SecretString> TokenSeeds::Of(const std::string& host) {
  if (const auto made = made_.find(host); made != made_.end()) return made->second;
  std::string seed(kSeedBytes, '\0');
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(seed.data()), kSeedBytes) == 1);
  ::mkdir(folder_.c_str(), 0755);
  // Where the folder cannot be written to, the seed lives as long as this build.
  const auto lock = OpenFile(folder_ + "/.token_seed.lock", O_RDWR | O_CREAT, 0644);
  if (lock.ok()) ::flock(lock->get(), LOCK_EX);
  const std::string path = folder_ + "/.token_seed";
  auto seeds = nlohmann::json::object();
  if (const auto text = ReadFile(path, kMaxSeedFile); text.ok()) {
    auto parsed = nlohmann::json::parse(*text, nullptr, false);
    if (parsed.is_object()) seeds = std::move(parsed);
  }
  if (std::string kept = SeedIn(seeds, host); !kept.empty()) {
    seed = std::move(kept);
  } else if (lock.ok()) {
    seeds[host] = {{"Seed", Base64Encode(seed)}};
    const std::string text = seeds.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    (void)WriteFileAtomically(path, text, 0600);
  }
  return made_[host] = SecretString(std::move(seed));
}

AuthService::AuthService(DockerConfig config, TokenFetcher fetcher,
                         const progress::Activity& activity)
    : config_(std::move(config)),
      fetcher_(std::move(fetcher)),
      activity_(activity),
      offers_tokens_(fetcher_ && !WantsPasswordsAsked()),
      seeds_(config_.folder()) {}

// One helper at a time: some of them hang otherwise.
Result<RegistryLogin> AuthService::LoginAt(const std::string& host) {
  const MutexLock lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  const auto known = known_.find(host);
  if (known != known_.end() && now - known->second.since < kLoginTime) return known->second.login;
  TRY_ASSIGN(RegistryLogin login, config_.Find(activity_.cancel, host));
  known_[host] = {login, now};
  return login;
}

grpc::Status AuthService::Credentials(grpc::ServerContext*, const pb::CredentialsRequest* request,
                                      pb::CredentialsResponse* response) {
  const Result<RegistryLogin> login = LoginAt(request->host());
  if (!login.ok()) return rpc::ToGrpc(login.error());
  response->set_username(login->username);
  response->set_secret(login->secret.Reveal());
  return grpc::Status::OK;
}

Result<SecretString> AuthService::SigningSeed(const std::string& host, const std::string& salt) {
  TRY_ASSIGN(const RegistryLogin login, LoginAt(host));
  // Its own randomness keeps a daemon from choosing what is signed with what.
  SecretString own;
  if (!login.secret.empty()) {
    const MutexLock lock(mutex_);
    TRY_ASSIGN(own, seeds_.Of(host));
  }
  std::string seed(kKeyBytes, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), salt.data(), static_cast<int>(salt.size()),
       reinterpret_cast<const unsigned char*>(own.Reveal().data()), own.Reveal().size(),
       reinterpret_cast<unsigned char*>(seed.data()), &size);
  CHECK(size == kKeyBytes);
  return SecretString(std::move(seed));
}

grpc::Status AuthService::GetTokenAuthority(grpc::ServerContext*,
                                            const pb::GetTokenAuthorityRequest* request,
                                            pb::GetTokenAuthorityResponse* response) {
  if (!offers_tokens_) return rpc::ToGrpc(Unavailable("client side tokens disabled"));
  const auto answer = [&]() -> Status {
    TRY_ASSIGN(const SecretString seed, SigningSeed(request->host(), request->salt()));
    TRY_ASSIGN(*response->mutable_publickey(), PublicKeyOf(seed));
    return OkStatus();
  };
  return rpc::ToGrpc(answer());
}

grpc::Status AuthService::VerifyTokenAuthority(grpc::ServerContext*,
                                               const pb::VerifyTokenAuthorityRequest* request,
                                               pb::VerifyTokenAuthorityResponse* response) {
  if (!offers_tokens_) return rpc::ToGrpc(Unavailable("client side tokens disabled"));
  const auto answer = [&]() -> Status {
    TRY_ASSIGN(const SecretString seed, SigningSeed(request->host(), request->salt()));
    TRY_ASSIGN(*response->mutable_signed_(), Sign(seed, request->payload()));
    return OkStatus();
  };
  return rpc::ToGrpc(answer());
}

Result<FetchedToken> AuthService::Fetch(const pb::FetchTokenRequest& request) {
  TRY_ASSIGN(const RegistryLogin login, LoginAt(request.host()));
  if (!login.registry_token.empty()) return FetchedToken{.token = login.registry_token};
  return fetcher_(activity_,
                  {.host = request.host(),
                   .realm = request.realm(),
                   .service = request.service(),
                   .scopes = {request.scopes().begin(), request.scopes().end()}},
                  login);
}

grpc::Status AuthService::FetchToken(grpc::ServerContext*, const pb::FetchTokenRequest* request,
                                     pb::FetchTokenResponse* response) {
  if (!offers_tokens_) return rpc::ToGrpc(Unavailable("client side tokens disabled"));
  const Result<FetchedToken> token = Fetch(*request);
  if (!token.ok()) return rpc::ToGrpc(token.error());
  response->set_token(token->token.Reveal());
  response->set_expiresin(token->expires_in.count());
  if (token->issued_at != WallTime()) {
    response->set_issuedat(
        std::chrono::duration_cast<std::chrono::seconds>(token->issued_at.time_since_epoch())
            .count());
  }
  return grpc::Status::OK;
}

}  // namespace kiln::client
