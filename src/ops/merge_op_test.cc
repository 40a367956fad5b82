#include "ops/merge_op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cachedb/snapshot_result.h"
#include "ops/testing/graph_runner.h"

namespace kiln::ops {
namespace {

using llb::File;
using llb::MkfileAction;
using llb::RmAction;
using testing::ElementsAre;

TEST(MergeOpTest, StacksInputs) {
  GraphRunner runner;
  llb::Output a = File({}, {MkfileAction{.path = "/a", .data = "a"},
                            MkfileAction{.path = "/both", .data = "from a"}});
  llb::Output b = File({}, {MkfileAction{.path = "/b", .data = "b"},
                            MkfileAction{.path = "/both", .data = "from b"}});
  auto ref = runner.Run(llb::Merge({a, b}));
  ASSERT_TRUE(ref.ok()) << ref.error().ToString();
  EXPECT_THAT(runner.List(*ref), ElementsAre("/a", "/b", "/both"));
  EXPECT_EQ(runner.Read(*ref, "/both"), "from b");
  ref = runner.Run(llb::Merge({b, a}));
  ASSERT_TRUE(ref.ok());
  EXPECT_EQ(runner.Read(*ref, "/both"), "from a");
}

TEST(DiffOpTest, HasOnlyWhatChanged) {
  GraphRunner runner;
  llb::Output lower =
      File({}, {MkfileAction{.path = "/a", .data = "a"}, MkfileAction{.path = "/gone"}});
  llb::Output upper =
      File(lower, {MkfileAction{.path = "/b", .data = "b"}, RmAction{.path = "/gone"}});
  auto ref = runner.Run(llb::Diff(lower, upper));
  ASSERT_TRUE(ref.ok()) << ref.error().ToString();
  EXPECT_THAT(runner.List(*ref), ElementsAre("/b"));
  // On top of the lower one again it is the upper one.
  ref = runner.Run(llb::Merge({lower, llb::Diff(lower, upper)}));
  ASSERT_TRUE(ref.ok()) << ref.error().ToString();
  EXPECT_THAT(runner.List(*ref), ElementsAre("/a", "/b"));
  ref = runner.Run(llb::Diff(lower, lower));
  ASSERT_TRUE(ref.ok()) << ref.error().ToString();
  EXPECT_TRUE(ref->is_scratch());
  // No result at all, as upstream has it.
  EXPECT_FALSE(runner.Run(llb::Merge({llb::Diff(lower, lower), llb::Diff(upper, upper)})).ok());
}

TEST(PassthroughOpTest, HandsInputsOn) {
  GraphRunner runner;
  auto a = runner.Run(File({}, {MkfileAction{.path = "/a"}}));
  ASSERT_TRUE(a.ok()) << a.error().ToString();
  pb::Op op;
  op.mutable_passthrough()->set_id("p");
  op.mutable_passthrough()->add_outputs(1);
  op.mutable_passthrough()->add_outputs(0);
  op.add_inputs();
  op.add_inputs();
  llb::Graph graph{.vertices = {{.op = op}}};
  auto made = runner.factory().Make(graph, 0);
  ASSERT_TRUE(made.ok());
  auto result = cachedb::SnapshotResult::Make(runner.store(), *a);
  ASSERT_TRUE(result.ok());
  auto output = runner.RunOp(**made, {*result, nullptr});
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  EXPECT_TRUE(cachedb::RefOf(output->results[0]).is_scratch());
  EXPECT_EQ(cachedb::RefOf(output->results[1]), *a);
}

}  // namespace
}  // namespace kiln::ops
