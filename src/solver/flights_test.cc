// Sharing of runs: flights, followers, failure, cancellation, forced steps, nested graphs.
#include <gtest/gtest.h>

#include "solver/failure.h"
#include "solver/testing/test_world.h"

namespace kiln::solver {
namespace {

using Story = std::vector<std::string>;

class FlightsTest : public testing::Test {
 protected:
  // S → step, with the step's identity chosen so that builds do not share the vertex, only its key.
  GraphBuilder Twin(const std::string& name, FakeOpSpec spec) {
    GraphBuilder graph;
    graph.Add("S", world_.NewOp("source"));
    spec.inputs = {InputKey{}};
    spec.digests = {FakeDigest("the step")};
    ops_[name] = world_.NewOp(std::move(spec));
    graph.Add(name, ops_[name], {{"S"}});
    return graph;
  }
  TestWorld::Build Start(const std::string& name, FakeOpSpec spec = {}) {
    if (spec.name.empty()) spec.name = "step";
    auto build = world_.NewBuild(name);
    world_.Load(build, Twin(name, std::move(spec)));
    return build;
  }

  TestWorld world_;
  std::map<std::string, std::shared_ptr<FakeOp>> ops_;
};

TEST_F(FlightsTest, EqualKeysOfDifferentVerticesShareOneRun) {
  world_.outside.Hold("run step");
  auto one = Start("one");
  auto two = Start("two");
  const auto first = world_.Ask(one, "one");
  const auto second = world_.Ask(two, "two");
  EXPECT_EQ(world_.Stats().flights, 1u);
  world_.outside.Release("run step");
  world_.Settle();
  EXPECT_EQ(first->value(), "step(source())");
  EXPECT_EQ((*first->result)->result(), (*second->result)->result());
  EXPECT_EQ(ops_["one"]->runs, 1);
  EXPECT_EQ(ops_["two"]->runs, 0);
  EXPECT_EQ(two.sink->Story("two"), (Story{"announce", "start", "done"}));
}

TEST_F(FlightsTest, FollowerOfAFailedLeaderTriesItself) {
  world_.outside.Hold("run step");
  FakeOpSpec bad;
  bad.name = "step";
  bad.body = [](const RunContext&) -> Result<RunOutput> { return Unknown("wrong secret"); };
  auto one = Start("one", std::move(bad));
  auto two = Start("two");
  const auto first = world_.Ask(one, "one");
  const auto second = world_.Ask(two, "two");
  world_.outside.Release("run step");
  world_.Settle();
  EXPECT_EQ(first->error(), "wrong secret");
  EXPECT_EQ(FailedVertex(first->result->error()), one.sink->vertices.back().digest);
  EXPECT_FALSE(second->result);
  world_.outside.ReleaseAll();
  world_.Settle();
  EXPECT_EQ(second->value(), "step(source())");
  EXPECT_EQ(ops_["two"]->runs, 1);
  EXPECT_EQ(one.sink->Story("one"), (Story{"announce", "start", "error: wrong secret"}));
}

TEST_F(FlightsTest, FailureIsRememberedForTheJobThatSawIt) {
  int attempts = 0;
  FakeOpSpec bad;
  bad.name = "step";
  bad.body = [&](const RunContext&) -> Result<RunOutput> {
    ++attempts;
    return Unknown("boom");
  };
  auto one = Start("one", bad);
  EXPECT_EQ(world_.Ask(one, "one")->error(), "boom");
  EXPECT_EQ(world_.Ask(one, "one")->error(), "boom");
  EXPECT_EQ(attempts, 1);
  // Another job that shares the vertex tries again.
  auto two = world_.NewBuild("two");
  world_.Load(two, Twin("one", bad));
  EXPECT_EQ(world_.Ask(two, "one")->error(), "boom");
  EXPECT_EQ(attempts, 2);
}

TEST_F(FlightsTest, RunOutlivesItsLeadersBuild) {
  world_.outside.Hold("run step");
  auto one = Start("one");
  auto two = Start("two");
  const auto first = world_.Ask(one, "one");
  const auto second = world_.Ask(two, "two");
  one.job->Discard();
  world_.Settle();
  EXPECT_EQ(first->result->error().code(), Code::kCancelled);
  EXPECT_FALSE(ops_["one"]->activity.cancel.cancelled());
  EXPECT_EQ(ops_["one"]->activity.sessions->SessionIds(), std::vector<std::string>{"session-two"});
  EXPECT_EQ(one.sink->Story("one"), (Story{"announce", "start", "error: context canceled"}));
  world_.outside.ReleaseAll();
  world_.Settle();
  EXPECT_EQ(second->value(), "step(source())");
}

TEST_F(FlightsTest, UnwantedRunIsToldAtOnceAndItsSuccessIsKept) {
  world_.outside.Hold("run step");
  auto one = Start("one");
  world_.Ask(one, "one");
  one.job->Cancel(Cancelled("stop"));
  world_.Settle();
  EXPECT_TRUE(ops_["one"]->activity.cancel.cancelled());
  // Newcomers wait behind it, and take its success.
  auto two = Start("two");
  const auto second = world_.Ask(two, "two");
  EXPECT_EQ(world_.Stats().flights, 1u);
  world_.outside.ReleaseAll();
  world_.Settle();
  EXPECT_EQ(second->value(), "step(source())");
  EXPECT_EQ(ops_["two"]->runs, 0);
}

TEST_F(FlightsTest, LateMemberGetsStartAndBacklog) {
  world_.outside.Hold("run step");
  auto one = Start("one");
  world_.Ask(one, "one");
  const WallTime started = world_.clock.Now();
  progress::VertexLog log;
  log.data = "hello\n";
  ops_["one"]->activity.sink->OnLog(log);
  world_.clock.Advance(std::chrono::seconds(3));
  auto two = Start("two");
  world_.Ask(two, "two");
  ASSERT_EQ(two.sink->logs.size(), 1u);
  EXPECT_EQ(two.sink->logs[0].data, "hello\n");
  EXPECT_EQ(two.sink->logs[0].vertex, two.sink->vertices.back().digest);
  EXPECT_EQ(two.sink->vertices.back().started, started);
  EXPECT_EQ(one.sink->logs.size(), 1u);
}

// Whatever a step's events are made of, what is kept of them takes no more memory than it may.
TEST_F(FlightsTest, BacklogIsBoundedWhateverItConsistsOf) {
  constexpr size_t kMany = 20'000;
  const size_t limit = SolverOptions().backlog_bytes;
  world_.outside.Hold("run step");
  auto one = Start("one");
  world_.Ask(one, "one");
  progress::Sink& sink = *ops_["one"]->activity.sink;
  for (size_t i = 0; i < kMany; ++i) {
    progress::VertexLog log;
    log.data = "x";
    sink.OnLog(log);
  }
  for (size_t i = 0; i < 30; ++i) {
    progress::VertexStatus status;
    status.id = std::to_string(i);
    status.name = std::string(limit / 50, 'n');
    sink.OnStatus(status);
    progress::VertexWarning warning;
    warning.info.emplace().data = std::string(limit / 50, 'w');
    sink.OnWarning(warning);
  }
  auto two = Start("two");
  world_.Ask(two, "two");
  ASSERT_FALSE(two.sink->logs.empty());
  EXPECT_NE(two.sink->logs.front().data.find("earlier output"), std::string::npos);
  EXPECT_GT(two.sink->logs.size(), limit / sizeof(progress::VertexLog) / 2);
  EXPECT_LE(two.sink->logs.size(), limit / sizeof(progress::VertexLog));
  EXPECT_GE(two.sink->statuses.size() + two.sink->warnings.size(), 40U);
  EXPECT_LE(two.sink->statuses.size() + two.sink->warnings.size(), 50U);
}

// What is told about itself again needs no further room, and never stands as it was before.
TEST_F(FlightsTest, BacklogHoldsTheNewestOfEachStatus) {
  const size_t limit = SolverOptions().backlog_bytes;
  world_.outside.Hold("run step");
  auto one = Start("one");
  world_.Ask(one, "one");
  progress::VertexStatus status;
  status.id = "layer";
  status.name = std::string(limit / 3, 'n');
  for (status.current = 1; status.current < 10; ++status.current)
    ops_["one"]->activity.sink->OnStatus(status);
  auto two = Start("two");
  world_.Ask(two, "two");
  ASSERT_EQ(two.sink->statuses.size(), 1U);
  EXPECT_EQ(two.sink->statuses[0].current, 9);
  status.name = std::string(2 * limit, 'n');
  ops_["one"]->activity.sink->OnStatus(status);
  auto three = Start("three");
  world_.Ask(three, "three");
  EXPECT_TRUE(three.sink->statuses.empty());
}

// The same step twice in one definition, as in two stages that begin alike.
TEST_F(FlightsTest, DuplicatesWithinOneBuildShareOneRunAndAreBothShown) {
  world_.outside.Hold("run step");
  GraphBuilder graph = Twin("one", {.name = "step"});
  FakeOpSpec again{.name = "step"};
  again.inputs = {InputKey{}};
  again.digests = {FakeDigest("the step")};
  ops_["two"] = world_.NewOp(std::move(again));
  graph.Add("two", ops_["two"], {{"S"}});
  auto build = world_.NewBuild("build");
  world_.Load(build, graph);
  const auto first = world_.Ask(build, "one");
  const auto second = world_.Ask(build, "two");
  EXPECT_EQ(world_.Stats().flights, 1u);
  world_.outside.Release("run step");
  world_.Settle();
  EXPECT_EQ(first->value(), "step(source())");
  EXPECT_EQ((*first->result)->result(), (*second->result)->result());
  EXPECT_EQ(ops_["one"]->runs + ops_["two"]->runs, 1);
  for (const char* name : {"one", "two"})
    EXPECT_EQ(build.sink->Story(name), (Story{"announce", "start", "done"})) << name;
}

TEST_F(FlightsTest, IgnoreCacheRunsAgainForEachBuildAndSavesItsResult) {
  int runs = 0;
  auto graph = [&] {
    GraphBuilder builder;
    FakeOpSpec spec;
    spec.name = "forced";
    spec.body = [&](const RunContext&) -> Result<RunOutput> {
      return RunOutput{{FakeValue("v" + std::to_string(++runs))}, ""};
    };
    builder.Add("F", world_.NewOp(std::move(spec)), {}, true);
    builder.Add("X", world_.NewOp("x", {InputKey{"", true}}), {{"F"}});
    return builder;
  };
  auto one = world_.NewBuild("one");
  auto two = world_.NewBuild("two");
  world_.Load(one, graph());
  EXPECT_EQ(world_.Ask(one, "X")->value(), "x(v1)");
  world_.Load(two, graph());
  EXPECT_EQ(world_.Ask(two, "X")->value(), "x(v2)");
  // Without ignore-cache the newest is taken.
  auto three = world_.NewBuild("three");
  GraphBuilder plain;
  plain.Add("F", world_.NewOp("forced"));
  plain.Add("X", world_.NewOp("x", {InputKey{"", true}}), {{"F"}});
  world_.Load(three, plain);
  EXPECT_EQ(world_.Ask(three, "X")->value(), "x(v2)");
  EXPECT_EQ(runs, 2);
}

TEST_F(FlightsTest, ConsumerOfAForcedResultHitsByContent) {
  int x_runs = 0;
  for (const std::string ref : {"one", "two"}) {
    GraphBuilder builder;
    builder.Add("F", world_.NewOp("forced"), {}, true);
    auto x = world_.NewOp("x", {InputKey{"", true}});
    builder.Add("X", x, {{"F"}});
    auto build = world_.NewBuild(ref);
    world_.Load(build, builder);
    EXPECT_EQ(world_.Ask(build, "X")->value(), "x(forced())");
    x_runs += x->runs;
  }
  EXPECT_EQ(x_runs, 1);
}

TEST_F(FlightsTest, OneRunYieldsAndRecordsEveryOutput) {
  GraphBuilder builder;
  FakeOpSpec spec;
  spec.name = "two";
  spec.outputs = 2;
  auto op = world_.NewOp(spec);
  builder.Add("T", op);
  auto one = world_.NewBuild("one");
  world_.Load(one, builder);
  EXPECT_EQ(world_.Ask(one, "T", 0)->value(), "two.0()");
  EXPECT_EQ(world_.Ask(one, "T", 1)->value(), "two.1()");
  EXPECT_EQ(op->runs, 1);
  EXPECT_EQ(world_.Ask(one, "T", 2)->error(), "T has no output 2");
}

// A run that solves `inner` in a graph of its own.
FakeOpSpec Nested(std::function<GraphBuilder()> graph, const std::string& root) {
  FakeOpSpec spec;
  spec.name = "build " + root;
  spec.async_body = [graph, root](std::shared_ptr<RunContext> context, Callback<RunOutput> done) {
    auto scope = context->OpenScope();
    if (!scope.ok()) return done(scope.error());
    const GraphBuilder inner = graph();
    auto ids = (*scope)->Load(inner.specs());
    auto keep = *scope;
    keep->Get({(*ids)[inner.at(root)], 0}, [keep, done](Result<ResultHandle> result) {
      if (!result.ok()) return done(result.error());
      done(RunOutput{{FakeValue("built " + ValueOf(*result))}, ""});
    });
  };
  return spec;
}

TEST_F(FlightsTest, NestedGraphIsSolvedAndShownForTheBuildsThatWantIt) {
  auto inner = [this] {
    GraphBuilder graph;
    graph.Add("inner", world_.NewOp("inner"));
    return graph;
  };
  GraphBuilder outer;
  outer.Add("N", world_.NewOp(Nested(inner, "inner")));
  auto build = world_.NewBuild("one");
  world_.Load(build, outer);
  EXPECT_EQ(world_.Ask(build, "N")->value(), "built inner()");
  EXPECT_EQ(build.sink->Story("inner"), (Story{"announce", "start", "done"}));
  build.job->Discard();
  EXPECT_EQ(world_.Stats().scopes, 0u);
}

TEST_F(FlightsTest, BuildOpThatContainsItselfFails) {
  std::function<GraphBuilder()> graph = [&] {
    GraphBuilder builder;
    builder.Add("N", world_.NewOp(Nested(graph, "N")));
    return builder;
  };
  auto build = world_.NewBuild("one");
  world_.Load(build, graph());
  EXPECT_NE(world_.Ask(build, "N")->error().find("contains itself"), std::string::npos);
}

TEST_F(FlightsTest, RunThatHoldsASlotMayNotSolve) {
  auto inner = [this] {
    GraphBuilder graph;
    graph.Add("inner", world_.NewOp("inner"));
    return graph;
  };
  FakeOpSpec spec = Nested(inner, "inner");
  spec.needs.slot = SlotKind::kExec;
  GraphBuilder outer;
  outer.Add("N", world_.NewOp(std::move(spec)));
  auto build = world_.NewBuild("one");
  world_.Load(build, outer);
  EXPECT_NE(world_.Ask(build, "N")->error().find("cannot solve a graph"), std::string::npos);
}

}  // namespace
}  // namespace kiln::solver
