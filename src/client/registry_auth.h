#pragma once

#include <moby/filesync/v1/auth.grpc.pb.h>

#include <chrono>
#include <map>
#include <string>

#include "base/mutex.h"
#include "client/build.h"
#include "client/docker_config.h"

namespace kiln::client {

// A client's secret for each registry, kept in Docker's folder in the file buildx keeps it in
// (".token_seed"), so that a user's builds can prove to a daemon that they are one user's.
class TokenSeeds {
 public:
  explicit TokenSeeds(std::string folder) : folder_(std::move(folder)) {}
  // Makes one where there is none. A folder that cannot be written to costs only later builds.
  Result<SecretString> Of(const std::string& host);

 private:
  std::string folder_;
  std::map<std::string, SecretString> made_;
};

// A session's logins. Where the request can fetch tokens, passwords stay here: the daemon asks for
// tokens, and knows the client by a key (wire-control-session §8.1). BUILDKIT_NO_CLIENT_TOKEN=1
// has it ask for passwords all the same.
class AuthService final : public moby::filesync::v1::Auth::Service {
 public:
  AuthService(DockerConfig config, TokenFetcher fetcher, const progress::Activity& activity);

  bool offers_tokens() const { return offers_tokens_; }

  grpc::Status Credentials(grpc::ServerContext* context,
                           const moby::filesync::v1::CredentialsRequest* request,
                           moby::filesync::v1::CredentialsResponse* response) override;
  grpc::Status FetchToken(grpc::ServerContext* context,
                          const moby::filesync::v1::FetchTokenRequest* request,
                          moby::filesync::v1::FetchTokenResponse* response) override;
  grpc::Status GetTokenAuthority(grpc::ServerContext* context,
                                 const moby::filesync::v1::GetTokenAuthorityRequest* request,
                                 moby::filesync::v1::GetTokenAuthorityResponse* response) override;
  grpc::Status VerifyTokenAuthority(
      grpc::ServerContext* context, const moby::filesync::v1::VerifyTokenAuthorityRequest* request,
      moby::filesync::v1::VerifyTokenAuthorityResponse* response) override;

 private:
  struct Known {
    RegistryLogin login;
    std::chrono::steady_clock::time_point since;
  };

  Result<RegistryLogin> LoginAt(const std::string& host);
  // 32 bytes of Ed25519 seed for that host and daemon; anonymous clients all have the same.
  Result<SecretString> SigningSeed(const std::string& host, const std::string& salt);
  Result<FetchedToken> Fetch(const moby::filesync::v1::FetchTokenRequest& request);

  const DockerConfig config_;
  const TokenFetcher fetcher_;
  const progress::Activity& activity_;
  const bool offers_tokens_;

  Mutex mutex_;
  std::map<std::string, Known> known_ GUARDED_BY(mutex_);
  TokenSeeds seeds_ GUARDED_BY(mutex_);
};

}  // namespace kiln::client
