#include "dockerfile/os_path.h"

#include <gtest/gtest.h>

namespace kiln::dockerfile {
namespace {

std::string Text(const Result<std::string>& result) {
  return result.ok() ? *result : "!" + result.error().ToString();
}

TEST(OsPathTest, WorkingDirectories) {
  EXPECT_EQ(Text(NormalizeWorkdir("", "a/../b", "linux")), "/b");
  EXPECT_EQ(Text(NormalizeWorkdir("/x", "a", "linux")), "/x/a");
  EXPECT_EQ(Text(NormalizeWorkdir("/x", "/a/../b/", "linux")), "/a/../b/");
  EXPECT_EQ(Text(NormalizeWorkdir("a", "a", "linux")), "/a/a");
  EXPECT_EQ(Text(NormalizeWorkdir("/", "/", "windows")), "\\");
  EXPECT_EQ(Text(NormalizeWorkdir("\\x", "a\\b", "windows")), "\\x\\a\\b");
  EXPECT_EQ(Text(NormalizeWorkdir("", "c:\\a/b\\", "windows")), "\\a\\b");
  EXPECT_EQ(Text(NormalizeWorkdir("", "D:\\a", "windows")),
            "!normalizing workdir: normalizing working directory: removing drive letter: The "
            "specified path is not on the system drive (C:)");
}

TEST(OsPathTest, Destinations) {
  EXPECT_EQ(Text(DestPath("/w", "a", "linux")), "/w/a");
  EXPECT_EQ(Text(DestPath("/w", ".", "linux")), "/w/");
  EXPECT_EQ(Text(DestPath("/w", "", "linux")), "/w/");
  EXPECT_EQ(Text(DestPath("/w", "a/.", "linux")), "/w/a/.");
  EXPECT_EQ(Text(DestPath("/w", "/a/", "linux")), "/a/");
  EXPECT_EQ(Text(DestPath("/", ".", "linux")), "/");
  EXPECT_EQ(Text(DestPath("/w", "/a/.", "linux")), "/a/.");
  EXPECT_EQ(Text(DestPath("/w", "/a/../b/", "linux")), "/b/");
  EXPECT_EQ(Text(DestPath("/w", "C:\\a\\", "windows")), "/a/");
  EXPECT_EQ(Text(DestPath("/w", "a\\b", "windows")), "/w/a/b");
  EXPECT_EQ(Text(DestPath("/w", "\\\\server\\x", "windows")),
            "!removing drive letter: UNC paths are not supported");
}

}  // namespace
}  // namespace kiln::dockerfile
