#include "ops/symbolic_mode.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace kiln::ops {
namespace {

mode_t Apply(const char* text, mode_t mode) {
  auto parsed = SymbolicMode::Parse(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed->Apply(mode);
}

TEST(SymbolicModeTest, Applies) {
  constexpr mode_t kFile = S_IFREG;
  constexpr mode_t kDir = S_IFDIR;
  EXPECT_EQ(Apply("0751", kFile | 0600), 0751U);
  EXPECT_EQ(Apply("4755", kFile | 0600), 04755U);
  EXPECT_EQ(Apply("u=rwx,go=rx", kFile | 0), 0755U);
  EXPECT_EQ(Apply("+x", kFile | 0644), 0755U);
  EXPECT_EQ(Apply("go-w", kFile | 0666), 0644U);
  EXPECT_EQ(Apply("=rw,+X", kFile | 0755), 0777U);
  EXPECT_EQ(Apply("a+rX", kFile | 0600), 0644U);
  EXPECT_EQ(Apply("a+rX", kDir | 0700), 0755U);
  EXPECT_EQ(Apply("go=", kFile | 0777), 0700U);
  EXPECT_EQ(Apply("go=u-w", kFile | 0700), 0755U);
  EXPECT_EQ(Apply("g=u", kFile | 0740), 0770U);
  EXPECT_EQ(Apply("u+s,g+s", kFile | 0755), 06755U);
  EXPECT_EQ(Apply("o+s", kFile | 0755), 0755U);
  EXPECT_EQ(Apply("+t", kDir | 0777), 01777U);
  EXPECT_EQ(Apply("u=rw", kFile | 04755), 0655U);
  EXPECT_EQ(Apply("u-x+w", kFile | 0500), 0600U);
}

TEST(SymbolicModeTest, RefusesWhatItCannotRead) {
  for (const char* text : {"", "u", "u=q", "0999", "77777", "u=rw,", "=rw;", "rw"})
    EXPECT_FALSE(SymbolicMode::Parse(text).ok()) << text;
}

}  // namespace
}  // namespace kiln::ops
