// Every public header stands alone, and what is pure in them works.
#include <gtest/gtest.h>

#include "solver/cache_source.h"
#include "solver/export.h"
#include "solver/ids.h"
#include "solver/lost.h"
#include "solver/op.h"
#include "solver/scope.h"
#include "solver/solver.h"
#include "solver/stored_result.h"

namespace kiln::solver {
namespace {

TEST(IdsTest, RootKeyIsTheDigestOfDigestAndOutput) {
  EXPECT_EQ(RootKeyId("sha256:aa", 0), Sha256Of("sha256:aa@0").ToString());
  EXPECT_EQ(ContentKeyId("sha256:aa"), Sha256Of("sha256:aa@-1").ToString());
  EXPECT_TRUE(IsRandom("random:00"));
  EXPECT_FALSE(IsRandom("sha256:00"));
}

TEST(LostTest, NamesItsBlobs) {
  Error error = LostError({"a", "b"}, "gone");
  error.AddContext("pulling");
  EXPECT_TRUE(IsLost(error));
  EXPECT_EQ(LostBlobs(error), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(IsLost(DataLoss("x")));
  EXPECT_TRUE(LostBlobs(LostError({}, "x")).empty());
}

}  // namespace
}  // namespace kiln::solver
