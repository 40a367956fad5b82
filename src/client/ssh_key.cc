#include "client/ssh_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <array>
#include <vector>

#include "base/strings.h"

namespace kiln::client {
namespace {

constexpr std::string_view kOpensshBegin = "-----BEGIN OPENSSH PRIVATE KEY-----";
constexpr std::string_view kOpensshEnd = "-----END OPENSSH PRIVATE KEY-----";
constexpr std::string_view kOpensshMagic{"openssh-key-v1\0", 15};
constexpr uint32_t kRsaSha256 = 2;
constexpr uint32_t kRsaSha512 = 4;

struct BnDeleter {
  void operator()(BIGNUM* number) const { BN_clear_free(number); }
};
using Bn = std::unique_ptr<BIGNUM, BnDeleter>;

struct Curve {
  std::string_view ssh;  // "nistp256"
  const char* group;     // OpenSSL's name
  std::string_view key_type;
};
constexpr std::array<Curve, 3> kCurves = {{
    {"nistp256", "prime256v1", "ecdsa-sha2-nistp256"},
    {"nistp384", "secp384r1", "ecdsa-sha2-nistp384"},
    {"nistp521", "secp521r1", "ecdsa-sha2-nistp521"},
}};

Error Malformed() { return InvalidArgument("malformed private key"); }
Error WantsPassphrase() {
  return InvalidArgument(
      "the key is protected by a passphrase: add it to an ssh-agent and forward that");
}

Bn NumberOf(std::string_view bytes) {
  return Bn(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                      static_cast<int>(bytes.size()), nullptr));
}

// RFC 4251's mpint: big endian, a zero byte before a set top bit.
void PutNumber(const BIGNUM* number, std::string* out) {
  std::string bytes(static_cast<size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
  if (!bytes.empty() && (static_cast<unsigned char>(bytes[0]) & 0x80) != 0)
    bytes.insert(0, 1, '\0');
  PutString(bytes, out);
}

Result<Pkey> KeyFromParams(const char* type, OSSL_PARAM_BLD* builder) {
  OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(builder);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr);
  EVP_PKEY* made = nullptr;
  const bool good = params != nullptr && context != nullptr &&
                    EVP_PKEY_fromdata_init(context) == 1 &&
                    EVP_PKEY_fromdata(context, &made, EVP_PKEY_KEYPAIR, params) == 1;
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(params);
  if (!good) return Malformed();
  return Pkey(made);
}

using Builder = std::unique_ptr<OSSL_PARAM_BLD, decltype(&OSSL_PARAM_BLD_free)>;

Result<Pkey> ReadEd25519(SshReader& fields) {
  const auto point = fields.String();
  const auto both = fields.String();
  if (!point || !both || point->size() != 32 || both->size() != 64) return Malformed();
  Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                        reinterpret_cast<const unsigned char*>(both->data()), 32));
  if (!key) return Malformed();
  return key;
}

Result<Pkey> ReadRsa(SshReader& fields) {
  const auto n = fields.String();
  const auto e = fields.String();
  const auto d = fields.String();
  if (!n || !e || !d) return Malformed();
  const Bn modulus = NumberOf(*n);
  const Bn exponent = NumberOf(*e);
  const Bn secret = NumberOf(*d);
  const Builder builder(OSSL_PARAM_BLD_new(), &OSSL_PARAM_BLD_free);
  if (OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_D, secret.get()) != 1) {
    return Malformed();
  }
  return KeyFromParams("RSA", builder.get());
}

Result<Pkey> ReadEcdsa(SshReader& fields) {
  const auto name = fields.String();
  const auto point = fields.String();
  const auto d = fields.String();
  if (!name || !point || !d) return Malformed();
  for (const Curve& curve : kCurves) {
    if (curve.ssh != *name) continue;
    const Bn secret = NumberOf(*d);
    const Builder builder(OSSL_PARAM_BLD_new(), &OSSL_PARAM_BLD_free);
    if (OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.group,
                                        0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point->data(),
                                         point->size()) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, secret.get()) != 1) {
      return Malformed();
    }
    return KeyFromParams("EC", builder.get());
  }
  return InvalidArgument("unknown curve {}", Quoted(*name));
}

// PROTOCOL.key of OpenSSH.
Result<Pkey> ParseOpenssh(std::string_view text) {
  const size_t end = text.find(kOpensshEnd);
  if (end == std::string_view::npos) return Malformed();
  std::string encoded;
  for (const char c : text.substr(0, end)) {
    if (c != '\n' && c != '\r' && c != ' ') encoded.push_back(c);
  }
  const auto decoded = Base64Decode(encoded);
  if (!decoded || !std::string_view(*decoded).starts_with(kOpensshMagic)) return Malformed();
  SshReader outer(std::string_view(*decoded).substr(kOpensshMagic.size()));
  const auto cipher = outer.String();
  outer.String();  // how the key is derived
  outer.String();
  const auto count = outer.Uint32();
  outer.String();  // the public key, once more
  const auto secret = outer.String();
  if (!cipher || count != 1U || !secret) return Malformed();
  if (*cipher != "none") return WantsPassphrase();
  SshReader inner(*secret);
  const auto check = inner.Uint32();
  if (!check || check != inner.Uint32()) return Malformed();
  const auto type = inner.String();
  if (!type) return Malformed();
  if (*type == "ssh-ed25519") return ReadEd25519(inner);
  if (*type == "ssh-rsa") return ReadRsa(inner);
  if (type->starts_with("ecdsa-sha2-")) return ReadEcdsa(inner);
  return InvalidArgument("keys of type {} cannot be forwarded", Quoted(*type));
}

Result<Bn> NumberParam(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return Malformed();
  return Bn(number);
}

Result<Curve> CurveOf(EVP_PKEY* key) {
  std::array<char, 64> name{};
  size_t size = 0;
  if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, name.data(), name.size(),
                                     &size) == 1) {
    for (const Curve& curve : kCurves) {
      if (std::string_view(name.data(), size) == curve.group) return curve;
    }
  }
  return InvalidArgument("keys on curve {} cannot be forwarded", Quoted(name.data()));
}

Result<std::string> RawSignature(EVP_PKEY* key, const EVP_MD* hash, std::string_view data) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, hash, nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, data.size()) != 1) {
    return Internal("the key cannot sign");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     bytes, data.size()) != 1) {
    return Internal("the key cannot sign");
  }
  signature.resize(size);
  return signature;
}

// DER's pair of numbers as SSH has it.
Result<std::string> EcdsaPair(const std::string& der) {
  const auto* begin = reinterpret_cast<const unsigned char*>(der.data());
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
      d2i_ECDSA_SIG(nullptr, &begin, static_cast<long>(der.size())), &ECDSA_SIG_free);
  if (!pair) return Internal("the key cannot sign");
  std::string out;
  PutNumber(ECDSA_SIG_get0_r(pair.get()), &out);
  PutNumber(ECDSA_SIG_get0_s(pair.get()), &out);
  return out;
}

int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

}  // namespace

std::optional<uint8_t> SshReader::Byte() {
  if (rest_.empty()) return std::nullopt;
  const auto value = static_cast<uint8_t>(rest_.front());
  rest_.remove_prefix(1);
  return value;
}

std::optional<uint32_t> SshReader::Uint32() {
  if (rest_.size() < 4) return std::nullopt;
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(rest_[i]);
  rest_.remove_prefix(4);
  return value;
}

std::optional<std::string_view> SshReader::String() {
  const auto size = Uint32();
  if (!size || *size > rest_.size()) return std::nullopt;
  const std::string_view value = rest_.substr(0, *size);
  rest_.remove_prefix(*size);
  return value;
}

void PutUint32(uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

void PutString(std::string_view value, std::string* out) {
  PutUint32(static_cast<uint32_t>(value.size()), out);
  out->append(value);
}

Result<Pkey> ParseSshPrivateKey(const std::string& text) {
  const size_t begin = text.find(kOpensshBegin);
  if (begin != std::string::npos)
    return ParseOpenssh(std::string_view(text).substr(begin + kOpensshBegin.size()));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
  bool asked = false;
  Pkey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, &asked));
  if (asked) return WantsPassphrase();
  if (!key) return InvalidArgument("not a private key");
  return key;
}

Result<std::string> SshPublicBlob(EVP_PKEY* key) {
  std::string blob;
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519: {
      std::array<unsigned char, 32> point{};
      size_t size = point.size();
      if (EVP_PKEY_get_raw_public_key(key, point.data(), &size) != 1) return Malformed();
      PutString("ssh-ed25519", &blob);
      PutString({reinterpret_cast<const char*>(point.data()), size}, &blob);
      return blob;
    }
    case EVP_PKEY_RSA: {
      TRY_ASSIGN(const Bn exponent, NumberParam(key, OSSL_PKEY_PARAM_RSA_E));
      TRY_ASSIGN(const Bn modulus, NumberParam(key, OSSL_PKEY_PARAM_RSA_N));
      PutString("ssh-rsa", &blob);
      PutNumber(exponent.get(), &blob);
      PutNumber(modulus.get(), &blob);
      return blob;
    }
    case EVP_PKEY_EC: {
      TRY_ASSIGN(const Curve curve, CurveOf(key));
      std::array<unsigned char, 256> point{};
      size_t size = 0;
      if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(),
                                          &size) != 1) {
        return Malformed();
      }
      PutString(curve.key_type, &blob);
      PutString(curve.ssh, &blob);
      PutString({reinterpret_cast<const char*>(point.data()), size}, &blob);
      return blob;
    }
    default:
      return InvalidArgument("keys of this type cannot be forwarded");
  }
}

Result<std::string> SshSign(EVP_PKEY* key, std::string_view data, uint32_t flags) {
  std::string out;
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519: {
      TRY_ASSIGN(const std::string raw, RawSignature(key, nullptr, data));
      PutString("ssh-ed25519", &out);
      PutString(raw, &out);
      return out;
    }
    case EVP_PKEY_RSA: {
      const bool wide = (flags & kRsaSha512) != 0;
      const bool sha2 = wide || (flags & kRsaSha256) != 0;
      const EVP_MD* hash = wide ? EVP_sha512() : sha2 ? EVP_sha256() : EVP_sha1();
      TRY_ASSIGN(const std::string raw, RawSignature(key, hash, data));
      PutString(wide ? "rsa-sha2-512" : sha2 ? "rsa-sha2-256" : "ssh-rsa", &out);
      PutString(raw, &out);
      return out;
    }
    default: {
      TRY_ASSIGN(const Curve curve, CurveOf(key));
      const EVP_MD* hash = curve.ssh == "nistp256"   ? EVP_sha256()
                           : curve.ssh == "nistp384" ? EVP_sha384()
                                                     : EVP_sha512();
      TRY_ASSIGN(const std::string der, RawSignature(key, hash, data));
      TRY_ASSIGN(const std::string pair, EcdsaPair(der));
      PutString(curve.key_type, &out);
      PutString(pair, &out);
      return out;
    }
  }
}

}  // namespace kiln::client
