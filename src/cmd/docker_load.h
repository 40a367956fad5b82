#pragma once

#include <memory>
#include <string>

#include "base/cancel.h"
#include "client/build.h"
#include "http/message.h"

namespace kiln::cmd {

// A Docker engine's HTTP interface.
struct DockerEndpoint {
  std::string host;         // as users write it: "unix:///var/run/docker.sock"
  std::string url;          // "http://docker", "https://10.0.0.1:2376"
  std::string unix_socket;  // "" for tcp
  http::TlsOptions tls;
};

// The first that is set, as the docker command does it: DOCKER_HOST (with DOCKER_TLS_VERIFY and
// DOCKER_CERT_PATH), the context of DOCKER_CONTEXT, config.json's currentContext; else
// /var/run/docker.sock. `config_dir` empty: $DOCKER_CONFIG, else ~/.docker. ssh:// is refused.
Result<DockerEndpoint> FindDocker(const std::string& config_dir);

// What the engine said of a load: {"message": …} of a refusal, or {"error": …} among the lines of
// one that failed on the way.
Status LoadOutcome(const http::Response& response, const std::string& host);

// Images into a Docker engine, `docker load` without the command.
class DockerLoad : public client::OutputSink {
 public:
  // Fails if nothing that speaks Docker's protocol answers there. First; the token also ends what
  // is sent later.
  virtual Status Check(const CancelToken& cancel) = 0;
};
std::shared_ptr<DockerLoad> MakeDockerLoad(DockerEndpoint endpoint);

}  // namespace kiln::cmd
