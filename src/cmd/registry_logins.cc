#include "cmd/registry_logins.h"

#include <unistd.h>

#include <cstdlib>

#include "base/strings.h"
#include "registry/token.h"
#include "sys/command.h"

namespace kiln::cmd {
namespace {

constexpr std::string_view kHelperPrefix = "docker-credential-";
// Helpers may ask their user something.
constexpr std::chrono::seconds kHelperTime{50};
constexpr std::string_view kHubEndpoint = "registry-1.docker.io";

// Part of a program's name: not a way to another folder.
bool IsHelperName(std::string_view name) {
  return !name.empty() && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace

client::DockerConfig::Helper RegistryLogins::helper() {
  return [this](const CancelToken& cancel, const std::string& name, const std::string& host) {
    return Ask(cancel, name, host);
  };
}

client::TokenFetcher RegistryLogins::fetcher() {
  return [this](const progress::Activity& activity, const client::WantedToken& wanted,
                const client::RegistryLogin& login) { return Fetch(activity, wanted, login); };
}

// docker-credential-helpers' protocol: the server's name in, JSON out; a failure says why on
// standard output.
Result<std::string> RegistryLogins::Ask(const CancelToken& cancel, const std::string& name,
                                        const std::string& host) {
  if (!IsHelperName(name))
    return InvalidArgument("bad name of a credential helper: {}", Quoted(name));
  sys::Command command;
  command.program = std::string(kHelperPrefix) + name;
  command.args = {"get"};
  command.input = host;
  command.timeout = kHelperTime;
  // It holds nothing that takes longer to put down.
  command.grace = std::chrono::seconds(1);
  for (char** entry = environ; *entry != nullptr; ++entry) command.env.emplace_back(*entry);
  const std::string program = command.program;
  auto result = sys::RunCommand(spawner_, std::move(command), cancel);
  if (!result.ok()) {
    Error error = std::move(result).error();
    // Not that there is no login.
    if (error.code() == Code::kNotFound) error.set_code(Code::kFailedPrecondition);
    error.AddContext(fmt::format("asking {} (of Docker's config.json) for {}", program, host));
    return error;
  }
  if (result->status.ok()) return std::move(result->out);
  const std::string said(Trim(result->out.empty() ? result->err : result->out));
  if (said.find("credentials not found") != std::string::npos) {
    return NotFound("{} knows no login for {}", program, host);
  }
  return FailedPrecondition("{}: {} for {}: {}", program, result->status.ToString(), host,
                            Quoted(said, 300));
}

http::Client& RegistryLogins::Http() {
  std::call_once(once_, [this] {
    library_ = std::make_unique<http::Library>();
    http::ClientOptions options;
    options.proxies = http::ProxySettings::From([](const char* name) { return std::getenv(name); });
    client_ = std::make_unique<http::Client>(*library_, std::move(options));
  });
  return *client_;
}

Result<client::FetchedToken> RegistryLogins::Fetch(const progress::Activity& activity,
                                                   const client::WantedToken& wanted,
                                                   const client::RegistryLogin& login) {
  const std::string domain = wanted.host == kHubEndpoint ? "docker.io" : wanted.host;
  TRY_ASSIGN(const auto endpoints,
             registry::EndpointsOf(hosts_, domain, registry::Purpose::kPush, /*insecure=*/false));
  const registry::TokenRequest request{.host = wanted.host,
                                       .realm = wanted.realm,
                                       .service = wanted.service,
                                       .scopes = wanted.scopes};
  // How the registry was reached only the daemon knows; as with Docker's own clients, the realm it
  // names is taken as it is.
  TRY_ASSIGN(registry::Token token,
             registry::FetchTokenFromRealm(Http(), activity, request,
                                           {.username = login.username, .secret = login.secret},
                                           endpoints.front().tls, /*secure=*/false, {}));
  return client::FetchedToken{.token = std::move(token.token),
                              .expires_in = token.expires_in,
                              .issued_at = token.issued_at};
}

}  // namespace kiln::cmd
