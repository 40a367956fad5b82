#include "base/archive_magic.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace kiln {
namespace {

std::string TarHeader() {
  std::string block(512, '\0');
  block.replace(0, 5, "a.txt");
  block.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  block.replace(148, 7, std::string(digits, 6) + '\0');
  return block;
}

TEST(ArchiveMagicTest, TellsArchivesFromText) {
  EXPECT_TRUE(LooksLikeArchive(TarHeader()));
  EXPECT_TRUE(LooksLikeArchive("\x1f\x8b\x08 and so on"));
  EXPECT_TRUE(LooksLikeArchive("BZh9"));
  EXPECT_TRUE(LooksLikeArchive(std::string("\xfd\x37zXZ\0x", 7)));
  EXPECT_TRUE(LooksLikeArchive("\x28\xb5\x2f\xfd"));
  EXPECT_TRUE(LooksLikeArchive(std::string("\x50\x2a\x4d\x18\4\0\0\0", 8)));
  EXPECT_TRUE(LooksLikeArchive(std::string("\x5f\x2a\x4d\x18\4\0\0\0", 8)));
  EXPECT_FALSE(LooksLikeArchive(std::string("\x60\x2a\x4d\x18\4\0\0\0", 8)));
  EXPECT_FALSE(LooksLikeArchive("\x50\x2a\x4d\x18"));
  EXPECT_FALSE(LooksLikeArchive(""));
  EXPECT_FALSE(LooksLikeArchive("FROM scratch\n"));
  EXPECT_FALSE(LooksLikeArchive(std::string(1024, '\0')));
  EXPECT_FALSE(LooksLikeArchive(std::string(1024, 'x')));
  std::string damaged = TarHeader();
  damaged[0] = 'b';
  EXPECT_FALSE(LooksLikeArchive(damaged));
  EXPECT_FALSE(LooksLikeArchive(TarHeader().substr(0, 511)));
}

}  // namespace
}  // namespace kiln
