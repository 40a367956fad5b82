#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/cancel.h"
#include "base/result.h"
#include "base/secret.h"

namespace kiln::client {

struct RegistryLogin {
  std::string username;
  SecretString secret;  // without a username: an identity token
  // A token for the registry itself, used as it is ("registrytoken").
  SecretString registry_token;
};

// Registry logins of Docker's config.json: `auths`, `credHelpers`, `credsStore`.
class DockerConfig {
 public:
  // Asks a credential helper ("desktop" for docker-credential-desktop) for a host: its standard
  // output. NotFound: it knows no login there. The token ends the helper.
  using Helper = std::function<Result<std::string>(
      const CancelToken& cancel, const std::string& helper, const std::string& host)>;

  // `directory` empty: $DOCKER_CONFIG, else ~/.docker. No file: no logins.
  static Result<DockerConfig> Load(const std::string& directory, Helper helper);
  static Result<DockerConfig> Parse(std::string_view json, Helper helper);

  // Where it was looked for; "" if nowhere.
  const std::string& folder() const { return folder_; }

  // For a host as registries name themselves ("registry-1.docker.io" is Docker Hub). Empty:
  // anonymous.
  Result<RegistryLogin> Find(const CancelToken& cancel, const std::string& host) const;

 private:
  struct Auth {
    std::string username;
    SecretString password;
    SecretString identity_token;
    SecretString registry_token;
  };
  Result<RegistryLogin> AskHelper(const CancelToken& cancel, const std::string& helper,
                                  const std::string& key) const;

  const Auth* AuthOf(const std::string& key) const;

  std::string folder_;
  std::map<std::string, Auth> auths_;
  std::map<std::string, std::string> helpers_;
  std::string store_;
  Helper helper_;
};

}  // namespace kiln::client
