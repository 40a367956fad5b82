#include "base/digest.h"

#include <openssl/evp.h>

#include "base/strings.h"

namespace kiln {
namespace {

constexpr std::string_view kPrefix = "sha256:";

// The value of a lowercase hex digit, or -1.
int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

Result<Digest> Digest::Parse(std::string_view text) {
  if (!text.starts_with(kPrefix)) {
    auto colon = text.find(':');
    if (colon == std::string_view::npos) {
      return InvalidArgument("invalid digest {}: want sha256:<64 hex digits>", Quoted(text));
    }
    return InvalidArgument("unsupported digest algorithm {} (only sha256 is supported)",
                           Quoted(text.substr(0, colon)));
  }
  return FromHex(text.substr(kPrefix.size()));
}

Result<Digest> Digest::FromHex(std::string_view hex) {
  if (hex.size() != 2 * kBytes) {
    return InvalidArgument("invalid digest {}: want 64 hex digits, got {} characters", Quoted(hex),
                           hex.size());
  }
  std::array<uint8_t, kBytes> bytes;
  for (size_t i = 0; i < kBytes; ++i) {
    int high = HexValue(hex[2 * i]);
    int low = HexValue(hex[2 * i + 1]);
    if (high < 0 || low < 0) return InvalidArgument("invalid digest {}: not hex", Quoted(hex));
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return Digest(bytes);
}

std::string Digest::hex() const {
  return HexEncode({reinterpret_cast<const char*>(bytes_.data()), kBytes});
}

std::string Digest::ToString() const {
  return empty() ? std::string() : std::string(kPrefix) + hex();
}

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() { CHECK(md != nullptr && EVP_DigestInit_ex(md, EVP_sha256(), nullptr) == 1); }
  ~Context() { EVP_MD_CTX_free(md); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::Update(std::string_view data) { return Update(data.data(), data.size()); }

Sha256& Sha256::Update(const void* data, size_t size) {
  CHECK(EVP_DigestUpdate(context_->md, data, size) == 1);
  return *this;
}

Digest Sha256::Finish() {
  std::array<uint8_t, Digest::kBytes> bytes;
  CHECK(EVP_DigestFinal_ex(context_->md, bytes.data(), nullptr) == 1);
  return Digest(bytes);
}

void Sha256::Reset() { CHECK(EVP_DigestInit_ex(context_->md, nullptr, nullptr) == 1); }

Sha256 Sha256::Clone() const {
  Sha256 copy;
  CHECK(EVP_MD_CTX_copy_ex(copy.context_->md, context_->md) == 1);
  return copy;
}

Digest Sha256Of(std::string_view data) { return Sha256().Update(data).Finish(); }

}  // namespace kiln
