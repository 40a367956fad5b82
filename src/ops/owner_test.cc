#include "ops/owner.h"

#include <gtest/gtest.h>

namespace kiln::ops {
namespace {

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
