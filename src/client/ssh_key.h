#pragma once

#include <openssl/evp.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kiln::client {

struct PkeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pkey = std::unique_ptr<EVP_PKEY, PkeyDeleter>;

// Values of the SSH protocol (RFC 4251 §5), read from the front of a text.
class SshReader {
 public:
  explicit SshReader(std::string_view bytes) : rest_(bytes) {}
  std::optional<uint8_t> Byte();
  std::optional<uint32_t> Uint32();
  std::optional<std::string_view> String();

 private:
  std::string_view rest_;
};
void PutUint32(uint32_t value, std::string* out);
void PutString(std::string_view value, std::string* out);

// A private key from a file's text: OpenSSH's own format or PEM.
Result<Pkey> ParseSshPrivateKey(const std::string& text);
// Its public half as it goes over the wire (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4).
Result<std::string> SshPublicBlob(EVP_PKEY* key);
// A signature over `data` as agents give it; `flags` choose SHA-256 (2) or SHA-512 (4) for RSA.
Result<std::string> SshSign(EVP_PKEY* key, std::string_view data, uint32_t flags);

}  // namespace kiln::client
