#include "base/archive_magic.h"

#include <cstdint>
#include <optional>

#include "base/strings.h"

namespace kiln {
namespace {

using std::string_view_literals::operator""sv;

constexpr size_t kBlock = 512;
constexpr size_t kSumAt = 148;
constexpr size_t kSumSize = 8;

// The header's own sum of its bytes, with blanks in place of the sum (POSIX ustar and all before).
bool IsTarHeader(std::string_view block) {
  if (block.size() < kBlock) return false;
  std::string_view digits = Trim(block.substr(kSumAt, kSumSize));
  digits = digits.substr(0, digits.find('\0'));
  const std::optional<uint64_t> said = ParseUint(Trim(digits), 8);
  if (!said) return false;
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const bool blank = i >= kSumAt && i < kSumAt + kSumSize;
    sum += blank ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(block[i]);
  }
  return sum == *said;
}

// A frame of zstd that holds no data: a number from 0x184D2A50 to …5F, little-endian, and a size.
bool IsSkippableFrame(std::string_view begin) {
  return begin.size() >= 8 && (static_cast<unsigned char>(begin[0]) & 0xF0U) == 0x50U &&
         begin.substr(1, 3) == "\x2a\x4d\x18"sv;
}

}  // namespace

bool LooksLikeArchive(std::string_view begin) {
  for (const std::string_view magic : {"BZh"sv, "\x1f\x8b\x08"sv,
                                       "\xfd"
                                       "7zXZ\0"sv,
                                       "\x28\xb5\x2f\xfd"sv}) {
    if (begin.starts_with(magic)) return true;
  }
  return IsSkippableFrame(begin) || IsTarHeader(begin);
}

}  // namespace kiln
