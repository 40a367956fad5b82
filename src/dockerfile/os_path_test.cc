#include "dockerfile/os_path.h"

#include <gtest/gtest.h>

namespace kiln::dockerfile {
namespace {

struct Case {
  const char* from;
  const char* path;
  const char* os;
  const char* result;  // an error behind "!"
};

template <typename Function>
void ExpectAll(Function function, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    const Result<std::string> result = function(one.from, one.path, one.os);
    EXPECT_EQ(result.ok() ? *result : "!" + result.error().ToString(), one.result)
        << one.path << " in " << one.from;
  }
}

TEST(OsPathTest, WorkingDirectories) {
  ExpectAll(NormalizeWorkdir,
            {{"", "a/../b", "linux", "/b"},
             {"/x", "a", "linux", "/x/a"},
             {"/x", "/a/../b/", "linux", "/a/../b/"},
             {"a", "a", "linux", "/a/a"},
             {"/", "/", "windows", "\\"},
             {"\\x", "a\\b", "windows", "\\x\\a\\b"},
             {"", "c:\\a/b\\", "windows", "\\a\\b"},
             {"", "D:\\a", "windows",
              "!normalizing workdir: normalizing working directory: removing drive letter: The "
              "specified path is not on the system drive (C:)"}});
}

TEST(OsPathTest, AbsoluteOnes) {
  for (const char* path : {"/", "/a", "\\a", "c:/a", "C:\\a"})
    EXPECT_TRUE(IsAbsolute(path, "windows"));
  for (const char* path : {"", "a", "c:", "c:a", "d:/a", "//host/a"})
    EXPECT_FALSE(IsAbsolute(path, "windows")) << path;
  EXPECT_TRUE(IsAbsolute("/a", "linux"));
  EXPECT_TRUE(IsAbsolute("//a", "linux"));
  EXPECT_FALSE(IsAbsolute("c:/a", "linux"));
}

TEST(OsPathTest, Destinations) {
  ExpectAll(DestPath, {{"/w", "a", "linux", "/w/a"},
                       {"/w", ".", "linux", "/w/"},
                       {"/w", "", "linux", "/w/"},
                       {"/w", "a/.", "linux", "/w/a/."},
                       {"/w", "/a/", "linux", "/a/"},
                       {"/", ".", "linux", "/"},
                       {"/w", "/a/.", "linux", "/a/."},
                       {"/w", "/a/../b/", "linux", "/b/"},
                       {"/w", "C:\\a\\", "windows", "/a/"},
                       {"/w", "a\\b", "windows", "/w/a/b"},
                       {"/w", "\\\\server\\x", "windows",
                        "!removing drive letter: UNC paths are not supported"}});
}

}  // namespace
}  // namespace kiln::dockerfile
