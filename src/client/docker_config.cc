#include "client/docker_config.h"

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/strings.h"

namespace kiln::client {
namespace {

constexpr std::string_view kHubHost = "registry-1.docker.io";
constexpr std::string_view kHubKey = "https://index.docker.io/v1/";
constexpr size_t kMaxConfigBytes = 4 << 20;

std::string Text(const nlohmann::json& object, const char* key) {
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
  none.folder_ = folder;
  if (folder.empty()) return none;
  const std::string path = folder + "/config.json";
  Result<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok() && text.error().code() == Code::kNotFound) return none;
  if (!text.ok()) return std::move(text).error();
  TRY_ASSIGN_CTX(DockerConfig config, Parse(*text, std::move(helper)), "{}", path);
  config.folder_ = folder;
  return config;
}

Result<DockerConfig> DockerConfig::Parse(std::string_view text, Helper helper) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
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
    auth.registry_token = SecretString(Text(value, "registrytoken"));
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

Result<RegistryLogin> DockerConfig::AskHelper(const CancelToken& cancel, const std::string& helper,
                                              const std::string& key) const {
  if (!helper_) return RegistryLogin();
  Result<std::string> output = helper_(cancel, helper, key);
  // A helper that knows nothing of the host fails; that means anonymous.
  if (!output.ok() && output.error().code() == Code::kNotFound) return RegistryLogin();
  if (!output.ok()) return std::move(output).error();
  const auto json = nlohmann::json::parse(*output, nullptr, false);
  if (!json.is_object()) return InvalidArgument("docker-credential-{} gave no JSON object", helper);
  RegistryLogin login;
  login.username = Text(json, "Username");
  login.secret = SecretString(Text(json, "Secret"));
  if (login.username == "<token>") login.username.clear();
  return login;
}

const DockerConfig::Auth* DockerConfig::AuthOf(const std::string& key) const {
  if (const auto exact = auths_.find(key); exact != auths_.end()) return &exact->second;
  for (const auto& [name, auth] : auths_) {
    if (HostOf(name) == HostOf(key)) return &auth;
  }
  return nullptr;
}

Result<RegistryLogin> DockerConfig::Find(const CancelToken& cancel, const std::string& host) const {
  const std::string key(host == kHubHost ? kHubKey : std::string_view(host));
  if (const auto helper = helpers_.find(key); helper != helpers_.end())
    return AskHelper(cancel, helper->second, key);
  if (const auto helper = helpers_.find(HostOf(key)); helper != helpers_.end())
    return AskHelper(cancel, helper->second, key);
  const Auth* auth = AuthOf(key);
  if (!store_.empty()) {
    TRY_ASSIGN(RegistryLogin login, AskHelper(cancel, store_, key));
    if (!login.secret.empty()) return login;
  }
  if (auth == nullptr) return RegistryLogin();
  RegistryLogin login;
  login.registry_token = auth->registry_token;
  login.secret = auth->identity_token;
  if (!login.secret.empty()) return login;
  login.username = auth->username;
  login.secret = auth->password;
  return login;
}

}  // namespace kiln::client
