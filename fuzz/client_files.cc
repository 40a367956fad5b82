// Files and answers on a client's side: Docker's config.json with what a credential helper prints,
// a private key, and what the builder asks an agent that holds one. Input: a byte that says which,
// then the bytes; for 'c' config.json, the helper's answer ("": none) and hosts.
#include <unistd.h>

#include <memory>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/strings.h"
#include "client/docker_config.h"
#include "client/ssh_key.h"
#include "client/ssh_keyring.h"
#include "parts.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::client;

// Made for this: it opens nothing.
constexpr char kKey[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n";

std::shared_ptr<const SshKeyring> OneKey() {
  char path[] = "/tmp/kiln-fuzz-key-XXXXXX";
  const Fd file(mkstemp(path));
  CHECK(WriteAll(file.get(), kKey).ok());
  auto keyring = SshKeyring::Load({path});
  CHECK(keyring.ok());
  unlink(path);
  return *keyring;
}

void Config(const Parts& parts) {
  const auto helper = [&](const std::string& name, const std::string&) -> Result<std::string> {
    if (parts[1].empty()) return NotFound("no login");
    if (name == "broken") return Unknown("the helper failed");
    return std::string(parts[1]);
  };
  for (const bool asks : {true, false}) {
    const auto config =
        DockerConfig::Parse(parts[0], asks ? DockerConfig::Helper(helper) : DockerConfig::Helper());
    if (!config.ok()) continue;
    (void)config->Find("registry-1.docker.io");
    for (const std::string_view host : Split(parts[2], '\n')) (void)config->Find(std::string(host));
  }
}

void Key(const std::string& text) {
  const auto key = ParseSshPrivateKey(text);
  if (!key.ok() || !SshPublicBlob(key->get()).ok()) return;
  for (const uint32_t flags : {0, 2, 4}) (void)SshSign(key->get(), "data", flags);
}

// In one piece, and byte by byte: the answers are the same.
void Agent(const std::string& bytes) {
  static const auto keyring = OneKey();
  SshAgentStream whole(keyring);
  SshAgentStream slow(keyring);
  const auto answer = whole.Feed(bytes);
  std::string answers;
  for (const char& byte : bytes) {
    const auto more = slow.Feed({&byte, 1});
    if (!more.ok()) return;
    answers += *more;
  }
  CHECK(answer.ok() && *answer == answers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] == 'c') Config(Parts(data + 1, size - 1));
  if (data[0] == 'k') Key(bytes);
  if (data[0] == 'a') Agent(bytes);
  return 0;
}
