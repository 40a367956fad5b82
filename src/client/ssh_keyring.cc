#include "client/ssh_keyring.h"

#include <openssl/crypto.h>

#include "base/fd.h"
#include "base/strings.h"
#include "client/ssh_key.h"

namespace kiln::client {
namespace {

constexpr size_t kMaxKeyBytes = 100 << 10;
constexpr uint32_t kMaxRequestBytes = 256 << 10;  // as OpenSSH's agent

constexpr uint8_t kFailure = 5;
constexpr uint8_t kRequestIdentities = 11;
constexpr uint8_t kIdentitiesAnswer = 12;
constexpr uint8_t kSignRequest = 13;
constexpr uint8_t kSignResponse = 14;

std::string Message(uint8_t type) { return {static_cast<char>(type)}; }

}  // namespace

struct SshKeyring::Key {
  Pkey key;
  std::string blob;
  std::string comment;
};

SshKeyring::SshKeyring() = default;
SshKeyring::~SshKeyring() = default;

Result<std::shared_ptr<const SshKeyring>> SshKeyring::Load(const std::vector<std::string>& paths) {
  std::shared_ptr<SshKeyring> keyring(new SshKeyring);
  for (const std::string& path : paths) {
    TRY_ASSIGN(std::string text, ReadFile(path, kMaxKeyBytes));
    Result<Pkey> parsed = ParseSshPrivateKey(text);
    OPENSSL_cleanse(text.data(), text.size());
    if (!parsed.ok()) return std::move(parsed.error().AddContext(path));
    Key key{*std::move(parsed), "", path};
    TRY_ASSIGN_CTX(key.blob, SshPublicBlob(key.key.get()), "{}", path);
    keyring->keys_.push_back(std::move(key));
  }
  return std::shared_ptr<const SshKeyring>(std::move(keyring));
}

std::string SshKeyring::Answer(std::string_view request) const {
  SshReader reader(request);
  const auto type = reader.Byte();
  if (type == kRequestIdentities) {
    std::string answer = Message(kIdentitiesAnswer);
    PutUint32(static_cast<uint32_t>(keys_.size()), &answer);
    for (const Key& key : keys_) {
      PutString(key.blob, &answer);
      PutString(key.comment, &answer);
    }
    return answer;
  }
  if (type == kSignRequest) {
    const auto blob = reader.String();
    const auto data = reader.String();
    const uint32_t flags = reader.Uint32().value_or(0);
    for (const Key& key : keys_) {
      if (!blob || !data || key.blob != *blob) continue;
      const Result<std::string> signature = SshSign(key.key.get(), *data, flags);
      if (!signature.ok()) break;
      std::string answer = Message(kSignResponse);
      PutString(*signature, &answer);
      return answer;
    }
  }
  return Message(kFailure);
}

Result<std::string> SshAgentStream::Feed(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  size_t begin = 0;
  while (true) {
    SshReader reader(std::string_view(pending_).substr(begin));
    const auto size = SshReader(reader).Uint32();
    if (!size) break;
    if (*size > kMaxRequestBytes) return InvalidArgument("agent request of {} bytes", *size);
    const auto request = reader.String();
    if (!request) break;
    PutString(keyring_->Answer(*request), &out);
    begin += 4 + request->size();
  }
  pending_.erase(0, begin);
  return out;
}

}  // namespace kiln::client
