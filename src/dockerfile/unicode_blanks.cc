#include "dockerfile/unicode_blanks.h"

#include <array>
#include <cctype>

namespace kiln::dockerfile {
namespace {

constexpr std::array<std::string_view, 19> kWide = {
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
    "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
    "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
    "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

// How many bytes the blank takes that `text` ends with.
std::size_t BlankAtEnd(std::string_view text) {
  if (text.empty()) return 0;
  if (static_cast<unsigned char>(text.back()) < 0x80) return BlankAt(text.substr(text.size() - 1));
  for (const std::string_view blank : kWide) {
    if (text.ends_with(blank)) return blank.size();
  }
  return 0;
}

}  // namespace

std::size_t BlankAt(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) return std::isspace(first) != 0 ? 1 : 0;
  for (const std::string_view blank : kWide) {
    if (text.starts_with(blank)) return blank.size();
  }
  return 0;
}

std::string_view TrimBlanksLeft(std::string_view text) {
  while (const std::size_t size = BlankAt(text)) text.remove_prefix(size);
  return text;
}

std::string_view TrimBlanks(std::string_view text) {
  text = TrimBlanksLeft(text);
  while (const std::size_t size = BlankAtEnd(text)) text.remove_suffix(size);
  return text;
}

}  // namespace kiln::dockerfile
