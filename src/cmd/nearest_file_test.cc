#include "cmd/nearest_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace kiln::cmd {
namespace {

class NearestFileTest : public testing::Test {
 protected:
  NearestFileTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ + "/sources/inner");
    for (const char* name : {"main.go", "README.md", "sources/inner/lib.c"}) {
      std::ofstream(folder_ + "/" + name) << name;
    }
  }
  ~NearestFileTest() override { std::filesystem::remove_all(folder_); }

  std::string Hint(const std::string& path, const std::string& line = "COPY x /") {
    return NearestFileHint(
        folder_, "Dockerfile:2\n   2 | >>> " + line +
                     "\nERROR: failed to solve: failed to compute cache key: failed to calculate "
                     "checksum of ref abc::def: \"/" +
                     path + "\": not found\n");
  }

  const std::string folder_ = testing::TempDir() + "nearest_file_test";
};

TEST_F(NearestFileTest, NamesWhatIsNear) {
  EXPECT_EQ(Hint("mian.go"), "The build context has no mian.go (did you mean main.go?)\n");
  EXPECT_EQ(Hint("readme.md"), "The build context has no readme.md (did you mean README.md?)\n");
  EXPECT_EQ(Hint("source/inner/lib.c"),
            "The build context has no source/inner/lib.c (did you mean sources/inner/lib.c?)\n");
  EXPECT_EQ(Hint("sources/inner/lib.h"),
            "The build context has no sources/inner/lib.h (did you mean sources/inner/lib.c?)\n");
}

TEST_F(NearestFileTest, SaysNothingOtherwise) {
  EXPECT_EQ(Hint("nothing-like-it"), "");
  EXPECT_EQ(Hint("main.go"), "");  // it is there, but ignored
  EXPECT_EQ(Hint("mian.go", "COPY --from=a /mian.go /"), "");
  EXPECT_EQ(Hint("RUN --mount=from=a true"), "");
  EXPECT_EQ(Hint(""), "");
  EXPECT_EQ(NearestFileHint(folder_, "ERROR: \"/mian.go\": not found"), "");
}

}  // namespace
}  // namespace kiln::cmd
