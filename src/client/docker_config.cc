#include "client/docker_config.h"

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/strings.h"

namespace kiln::client {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kHubHost = "registry-1.docker.io";
constexpr std::string_view kHubKey = "https://index.docker.io/v1/";
constexpr size_t kMaxConfigBytes = 4 << 20;

std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// Keys may be URLs with a path: what counts is the host.
std::string HostOf(std::string_view key) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  }
  return std::string(key.substr(0, key.find('/')));
}

std::string DefaultDirectory() {
  if (const char* directory = std::getenv("DOCKER_CONFIG"); directory != nullptr && *directory != 0)
    return directory;
  if (const char* home = std::getenv("HOME"); home != nullptr)
    return std::string(home) + "/.docker";
  return "";
}

}  // namespace

Result<DockerConfig> DockerConfig::Load(const std::string& directory, Helper helper) {
  const std::string folder = directory.empty() ? DefaultDirectory() : directory;
  DockerConfig none;
  none.helper_ = helper;
  if (folder.empty()) return none;
  const std::string path = folder + "/config.json";
  Result<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok() && text.error().code() == Code::kNotFound) return none;
  if (!text.ok()) return std::move(text).error();
  TRY_ASSIGN_CTX(DockerConfig config, Parse(*text, std::move(helper)), "{}", path);
  return config;
}

Result<DockerConfig> DockerConfig::Parse(std::string_view text, Helper helper) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return InvalidArgument("not a JSON object");
  DockerConfig config;
  config.helper_ = std::move(helper);
  config.store_ = Text(json, "credsStore");
  if (const auto helpers = json.find("credHelpers");
      helpers != json.end() && helpers->is_object()) {
    for (const auto& [host, name] : helpers->items()) {
      if (name.is_string()) config.helpers_[host] = name.get<std::string>();
    }
  }
  const auto auths = json.find("auths");
  if (auths == json.end() || !auths->is_object()) return config;
  for (const auto& [key, value] : auths->items()) {
    if (!value.is_object()) continue;
    Auth auth;
    auth.username = Text(value, "username");
    auth.password = SecretString(Text(value, "password"));
    auth.identity_token = SecretString(Text(value, "identitytoken"));
    if (const std::string encoded = Text(value, "auth"); !encoded.empty()) {
      const auto decoded = Base64Decode(encoded);
      const auto parts = decoded ? Cut(*decoded, ":") : std::nullopt;
      if (!parts) return InvalidArgument("auth of {} is not base64 of user:password", key);
      auth.username = parts->first;
      // Docker pads with zero bytes.
      std::string_view password = parts->second;
      while (password.ends_with('\0')) password.remove_suffix(1);
      auth.password = SecretString(std::string(password));
    }
    config.auths_[key] = std::move(auth);
  }
  return config;
}

Result<RegistryLogin> DockerConfig::AskHelper(const std::string& helper,
                                              const std::string& key) const {
  if (!helper_) return RegistryLogin();
  Result<std::string> output = helper_(helper, key);
  // A helper that knows nothing of the host fails; that means anonymous.
  if (!output.ok() && output.error().code() == Code::kNotFound) return RegistryLogin();
  if (!output.ok()) return std::move(output).error();
  const Json json = Json::parse(*output, nullptr, false);
  if (!json.is_object()) return InvalidArgument("docker-credential-{} gave no JSON object", helper);
  RegistryLogin login;
  login.username = Text(json, "Username");
  login.secret = SecretString(Text(json, "Secret"));
  if (login.username == "<token>") login.username.clear();
  return login;
}

Result<RegistryLogin> DockerConfig::Find(const std::string& host) const {
  const std::string key(host == kHubHost ? kHubKey : std::string_view(host));
  if (const auto helper = helpers_.find(key); helper != helpers_.end())
    return AskHelper(helper->second, key);
  if (const auto helper = helpers_.find(HostOf(key)); helper != helpers_.end())
    return AskHelper(helper->second, key);
  auto auth = auths_.find(key);
  if (auth == auths_.end()) {
    for (auto it = auths_.begin(); it != auths_.end(); ++it) {
      if (HostOf(it->first) == HostOf(key)) auth = it;
    }
  }
  if (!store_.empty()) {
    TRY_ASSIGN(RegistryLogin login, AskHelper(store_, auth == auths_.end() ? key : auth->first));
    if (!login.secret.empty()) return login;
  }
  if (auth == auths_.end()) return RegistryLogin();
  if (!auth->second.identity_token.empty()) return RegistryLogin{"", auth->second.identity_token};
  return RegistryLogin{auth->second.username, auth->second.password};
}

}  // namespace kiln::client
