#include <gtest/gtest.h>

#include "llb/build.h"
#include "llb/definition.h"
#include "llb/marshal.h"
#include "ops/factory.h"
#include "ops/snapshot_op.h"
#include "ops/testing/graph_runner.h"

namespace kiln::ops {
namespace {

llb::Graph GraphOf(const llb::Output& output) {
  auto definition = llb::Marshal(output);
  EXPECT_TRUE(definition.ok());
  auto graph = llb::Load(*definition);
  EXPECT_TRUE(graph.ok());
  return std::move(graph).value();
}

llb::Output Files(const std::string& data) {
  return llb::File(
      {}, {llb::MkdirAction{.path = "/d"}, llb::MkfileAction{.path = "/d/f", .data = data}});
}

TEST(KeyPartsTest, AreAskedForOnlyWhenNothingWasFound) {
  GraphRunner runner;
  auto op = runner.factory().Make(GraphOf(Files("small")), 0);
  ASSERT_TRUE(op.ok());
  bool called = false;
  (*op)->KeyMap(0, runner.activity(), [&](Result<solver::KeyMapPart> part) {
    called = true;
    ASSERT_TRUE(part.ok());
    EXPECT_TRUE(part->parts.empty());
  });
  EXPECT_TRUE(called);
  const auto parts = (*op)->KeyParts();
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[1].label, "action 1");
  EXPECT_NE(parts[1].value.find("/d/f"), std::string::npos);
}

TEST(KeyPartsTest, OfLongContentOnlyADigest) {
  GraphRunner runner;
  std::string data(10 << 20, 'x');
  const auto first = KeyPartsOf(GraphOf(Files(data)).vertices[0]);
  data.back() = 'y';
  auto op = runner.factory().Make(GraphOf(Files(data)), 0);
  ASSERT_TRUE(op.ok());
  const auto second = (*op)->KeyParts();
  ASSERT_EQ(first.size(), 2U);
  ASSERT_EQ(second.size(), 2U);
  EXPECT_EQ(first[0], second[0]);
  EXPECT_NE(first[1], second[1]);
  EXPECT_EQ(first[1].value.size(), Sha256Of("").ToString().size());
}

}  // namespace
}  // namespace kiln::ops
