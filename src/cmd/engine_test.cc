#include "cmd/engine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace kiln::cmd {
namespace {

constexpr const char* kRuntimeDir = "XDG_RUNTIME_DIR";

class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    if (const char* value = std::getenv(kRuntimeDir)) before_ = value;
  }
  ~EngineTest() override {
    if (before_) {
      ::setenv(kRuntimeDir, before_->c_str(), 1);
    } else {
      ::unsetenv(kRuntimeDir);
    }
  }

  // For root and for another user.
  static std::string AddressFor(bool root) {
    const uid_t user = ::geteuid();
    if (root != (user == 0) && (root || ::seteuid(65534) != 0)) return "nobody can say";
    std::string address = DefaultAddress();
    EXPECT_EQ(::seteuid(user), 0);
    return address;
  }

  std::optional<std::string> before_;
};

TEST_F(EngineTest, TheDefaultSocketOfOtherUsersThanRoot) {
  constexpr const char* kOfAll = "unix:///run/kiln/kilnd.sock";
  ::unsetenv(kRuntimeDir);
  EXPECT_EQ(AddressFor(/*root=*/false), kOfAll);
  ::setenv(kRuntimeDir, "", 1);
  EXPECT_EQ(AddressFor(/*root=*/false), kOfAll);
  ::setenv(kRuntimeDir, "/run/user/1000", 1);
  EXPECT_EQ(AddressFor(/*root=*/false), "unix:///run/user/1000/kiln/kilnd.sock");
  ::setenv(kRuntimeDir, "/run/user/1000:/other", 1);
  EXPECT_EQ(AddressFor(/*root=*/false), "unix:///run/user/1000/kiln/kilnd.sock");
  if (::geteuid() == 0) {
    EXPECT_EQ(AddressFor(/*root=*/true), kOfAll);
  }
}

}  // namespace
}  // namespace kiln::cmd
