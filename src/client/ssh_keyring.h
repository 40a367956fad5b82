#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::client {

// An SSH agent over private keys from files: what `--ssh id=KEYFILE` forwards. It lists its keys
// and signs with them (draft-miller-ssh-agent, messages 11 and 13); everything else is refused.
// Safe from any thread.
class SshKeyring {
 public:
  // Ed25519, RSA and ECDSA keys in OpenSSH's format or PEM (PKCS#1, PKCS#8, SEC 1). A key that is
  // protected by a passphrase is refused.
  static Result<std::shared_ptr<const SshKeyring>> Load(const std::vector<std::string>& paths);
  ~SshKeyring();
  SshKeyring(const SshKeyring&) = delete;
  SshKeyring& operator=(const SshKeyring&) = delete;

  // The answer to one request; both without their length prefix.
  std::string Answer(std::string_view request) const;

 private:
  struct Key;
  SshKeyring();
  std::vector<Key> keys_;
};

// Cuts an agent connection's bytes into requests and answers them.
class SshAgentStream {
 public:
  explicit SshAgentStream(std::shared_ptr<const SshKeyring> keyring)
      : keyring_(std::move(keyring)) {}
  // Takes bytes as they come; returns the answers that are due, with their length prefixes. An
  // error ends the connection: a request is larger than any agent takes.
  Result<std::string> Feed(std::string_view bytes);

 private:
  const std::shared_ptr<const SshKeyring> keyring_;
  std::string pending_;
};

}  // namespace kiln::client
