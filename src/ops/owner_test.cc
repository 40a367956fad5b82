#include "ops/owner.h"

#include <gtest/gtest.h>

namespace kiln::ops {
namespace {

TEST(OwnerTest, ReadsPasswdAndGroup) {
  constexpr std::string_view kPasswd =
      "root:x:0:0:root:/root:/bin/sh\n# "
      "comment\nbad\nbob:x:1000:1001::/home/bob:/bin/sh\nbob:x:7:7::/:\n";
  EXPECT_EQ(FindUser(kPasswd, "bob"), (FileOwner{1000, 1001}));
  EXPECT_EQ(FindUser(kPasswd, "eve"), std::nullopt);
  EXPECT_EQ(FindUser(kPasswd, ""), std::nullopt);
  EXPECT_EQ(FindUser("x:x:99999999999:1::/:", "x"), (FileOwner{0, 1}));
  EXPECT_EQ(FindGroup("root:x:0:\nwheel:x:10:root,bob\n", "wheel"), 10U);
  EXPECT_EQ(FindGroup("", "wheel"), std::nullopt);
}

TEST(OwnerTest, IdsSetBothAndGroupOverrides) {
  store::TreeView empty;
  pb::ChownOpt owner;
  EXPECT_EQ(ResolveOwner(owner, empty, empty).value(), FileOwner());
  owner.mutable_user()->set_byid(5);
  EXPECT_EQ(ResolveOwner(owner, empty, empty).value(), (FileOwner{5, 5}));
  owner.mutable_group()->set_byid(0);
  EXPECT_EQ(ResolveOwner(owner, empty, empty).value(), (FileOwner{5, 0}));
  // A name that nobody has is 0, as upstream has it.
  owner.mutable_user()->mutable_byname()->set_name("bob");
  owner.mutable_group()->mutable_byname()->set_name("wheel");
  EXPECT_EQ(ResolveOwner(owner, empty, empty).value(), FileOwner());
}

}  // namespace
}  // namespace kiln::ops
