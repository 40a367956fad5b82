#include "rpc/metadata.h"

#include <algorithm>

namespace kiln::rpc {
namespace {

bool NeedsEncoding(std::string_view value) {
  if (value.empty()) return false;
  if (value.front() == ' ' || value.back() == ' ') return true;
  return std::any_of(value.begin(), value.end(),
                     [](unsigned char c) { return c < 0x20 || c > 0x7e; });
}

bool IsUnreserved(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '~';
}

std::string FormEncode(std::string_view value) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : value) {
    if (IsUnreserved(c)) {
      out.push_back(static_cast<char>(c));
    } else if (c == ' ') {
      out.push_back('+');
    } else {
      out.push_back('%');
      out.push_back(kHex[c >> 4]);
      out.push_back(kHex[c & 15]);
    }
  }
  return out;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> FormDecode(std::string_view value) {
  std::string out;
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '+') {
      out.push_back(' ');
    } else if (value[i] == '%') {
      const int high = i + 2 < value.size() ? HexValue(value[i + 1]) : -1;
      const int low = i + 2 < value.size() ? HexValue(value[i + 2]) : -1;
      if (high < 0 || low < 0) return InvalidArgument("bad escape in metadata value \"{}\"", value);
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(value[i]);
    }
  }
  return out;
}

grpc::string_ref Ref(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::vector<std::string> MetadataValues(const MetadataMap& metadata, std::string_view key) {
  std::vector<std::string> out;
  const auto [begin, end] = metadata.equal_range(Ref(key));
  for (auto it = begin; it != end; ++it) out.emplace_back(it->second.data(), it->second.size());
  return out;
}

std::optional<std::string> MetadataValue(const MetadataMap& metadata, std::string_view key) {
  const auto it = metadata.find(Ref(key));
  if (it == metadata.end()) return std::nullopt;
  return std::string(it->second.data(), it->second.size());
}

void AppendEncoded(std::string_view key, const std::vector<std::string>& values,
                   MetadataList* out) {
  const bool encode = std::any_of(values.begin(), values.end(), NeedsEncoding);
  for (const std::string& value : values)
    out->emplace_back(key, encode ? FormEncode(value) : value);
  if (encode) out->emplace_back(std::string(key) + "-encoded", "1");
}

Result<std::vector<std::string>> DecodeValues(const MetadataMap& metadata, std::string_view key) {
  std::vector<std::string> values = MetadataValues(metadata, key);
  if (MetadataValue(metadata, std::string(key) + "-encoded") != "1") return values;
  for (std::string& value : values) {
    TRY_ASSIGN(value, FormDecode(value));
  }
  return values;
}

}  // namespace kiln::rpc
