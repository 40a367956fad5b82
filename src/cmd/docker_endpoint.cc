#include <cstdlib>

#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/fd.h"
#include "base/strings.h"
#include "cmd/docker_load.h"
#include "cmd/values.h"

namespace kiln::cmd {
namespace {

constexpr const char* kDefaultHost = "unix:///var/run/docker.sock";
constexpr size_t kMaxConfigBytes = size_t{4} << 20;

// ca.pem, cert.pem and key.pem, as far as they are there.
void AddCertificates(const std::string& folder, DockerEndpoint& endpoint) {
  if (ReadFile(folder + "/ca.pem", kMaxConfigBytes).ok())
    endpoint.tls.ca_files.push_back(folder + "/ca.pem");
  if (ReadFile(folder + "/cert.pem", kMaxConfigBytes).ok())
    endpoint.tls.client = {folder + "/cert.pem", folder + "/key.pem"};
}

Result<DockerEndpoint> EndpointOf(const std::string& host) {
  DockerEndpoint endpoint;
  endpoint.host = host;
  if (host.starts_with("unix://")) {
    endpoint.unix_socket = host.substr(7);
    endpoint.url = "http://docker";
  } else if (host.starts_with("tcp://") || host.starts_with("http://") ||
             host.starts_with("https://")) {
    endpoint.url = (host.starts_with("https") ? "https" : "http") + host.substr(host.find(':'));
  } else {
    return Unimplemented(
        "--load to the Docker engine at {} is not served: only unix:// and tcp:// are; write an "
        "archive with -o type=docker,dest=image.tar and pass it to docker load",
        host);
  }
  return endpoint;
}

void UseTls(DockerEndpoint& endpoint) {
  if (endpoint.url.starts_with("http://") && endpoint.unix_socket.empty())
    endpoint.url.replace(0, 4, "https");
}

// contexts/meta/<sha256 of the name>/meta.json, and contexts/tls/….
Result<DockerEndpoint> ContextEndpoint(const std::string& config_dir, const std::string& name) {
  const std::string id = Sha256Of(name).hex();
  const std::string file = config_dir + "/contexts/meta/" + id + "/meta.json";
  TRY_ASSIGN_CTX(const std::string text, ReadFile(file, kMaxConfigBytes), "docker context {}",
                 Quoted(name));
  const auto meta = nlohmann::json::parse(text, nullptr, false);
  static const nlohmann::json::json_pointer kHost("/Endpoints/docker/Host");
  static const nlohmann::json::json_pointer kSkip("/Endpoints/docker/SkipTLSVerify");
  if (!meta.is_object() || !meta.contains(kHost) || !meta[kHost].is_string())
    return InvalidArgument("docker context {} names no engine", Quoted(name));
  TRY_ASSIGN(DockerEndpoint endpoint, EndpointOf(meta[kHost].get<std::string>()));
  AddCertificates(config_dir + "/contexts/tls/" + id + "/docker", endpoint);
  if (endpoint.tls.client || !endpoint.tls.ca_files.empty()) UseTls(endpoint);
  if (meta.contains(kSkip) && meta[kSkip].is_boolean())
    endpoint.tls.verify = !meta[kSkip].get<bool>();
  return endpoint;
}

std::string CurrentContext(const std::string& config_dir) {
  if (const std::string name = Env("DOCKER_CONTEXT"); !name.empty()) return name;
  const auto text = ReadFile(config_dir + "/config.json", kMaxConfigBytes);
  if (!text.ok()) return "";
  const auto config = nlohmann::json::parse(*text, nullptr, false);
  if (!config.is_object() || !config.contains("currentContext")) return "";
  const auto& name = config["currentContext"];
  return name.is_string() ? name.get<std::string>() : "";
}

}  // namespace

Status LoadOutcome(const http::Response& response, const std::string& host) {
  std::string message;
  for (const auto line : Split(response.body, '\n')) {
    const auto value = nlohmann::json::parse(line, nullptr, false);
    for (const char* key : {"message", "error"}) {
      if (value.is_object() && value.contains(key) && value[key].is_string())
        message = value[key].get<std::string>();
    }
  }
  if (response.ok() && message.empty()) return OkStatus();
  if (message.empty()) message = fmt::format("status {}", response.status);
  return Unknown("loading the image into Docker at {}: {}", host, message);
}

Result<DockerEndpoint> FindDocker(const std::string& config_dir) {
  const std::string host = Env("DOCKER_HOST");
  std::string folder = config_dir.empty() ? Env("DOCKER_CONFIG") : config_dir;
  if (folder.empty()) folder = Env("HOME") + "/.docker";
  if (host.empty()) {
    const std::string context = CurrentContext(folder);
    if (context.empty() || context == "default") return EndpointOf(kDefaultHost);
    return ContextEndpoint(folder, context);
  }
  TRY_ASSIGN(DockerEndpoint endpoint, EndpointOf(host));
  const bool verify = !Env("DOCKER_TLS_VERIFY").empty();
  if (verify || !Env("DOCKER_TLS").empty()) {
    const std::string certificates = Env("DOCKER_CERT_PATH");
    AddCertificates(certificates.empty() ? folder : certificates, endpoint);
    UseTls(endpoint);
    endpoint.tls.verify = verify;
  }
  return endpoint;
}

}  // namespace kiln::cmd
