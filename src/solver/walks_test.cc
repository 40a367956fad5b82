// The three walks of docs "solver by example": B base image, C local context, F copy, X exec.
#include <gtest/gtest.h>

#include "solver/testing/test_world.h"

namespace kiln::solver {
namespace {

using testing::Test;
constexpr const char* kSrc = "/src";

class WalksTest : public Test {
 protected:
  struct Graph {
    std::shared_ptr<FakeOp> base, context, copy, exec;
    GraphBuilder builder;
  };

  Graph Make(const std::string& session, const std::string& source,
             const std::string& manifest = "manifest-1") {
    Graph graph;
    FakeOpSpec base;
    base.name = "base";
    base.digests = {FakeDigest(manifest), FakeDigest("chain")};
    base.body = [](const RunContext&) -> Result<RunOutput> {
      auto lazy = FakeValue("base");
      lazy->set_lazy(true);
      return RunOutput{{lazy}, ""};
    };
    graph.base = world_.NewOp(std::move(base));
    FakeOpSpec context;
    context.name = "context";
    context.digests = {"random:" + session};
    context.body = [source](const RunContext&) -> Result<RunOutput> {
      return RunOutput{{std::make_shared<FakeResult>(std::map<std::string, std::string>{
                           {kSrc, source}, {"/other", "session data"}})},
                       ""};
    };
    graph.context = world_.NewOp(std::move(context));
    graph.copy =
        world_.NewOp("copy", {InputKey{}, InputKey{kSrc, true, "content of context:/src"}});
    graph.exec = world_.NewOp("exec", {InputKey{}});
    graph.builder.Add("B", graph.base)
        .Add("C" + session, graph.context)
        .Add("F", graph.copy, {{"B"}, {"C" + session}})
        .Add("X", graph.exec, {{"F"}});
    return graph;
  }

  std::string Run(const std::string& ref, Graph& graph) {
    auto build = world_.NewBuild(ref);
    world_.Load(build, graph.builder);
    const auto answer = world_.Ask(build, "X");
    story_ = build.sink->Story("X");
    build.job->Discard();
    world_.Settle();
    return answer->ok() ? answer->value() : answer->error();
  }

  TestWorld world_;
  std::vector<std::string> story_;
};

TEST_F(WalksTest, FirstBuildRunsEverythingOnceAndSavesEveryKey) {
  Graph first = Make("s1", "v1");
  EXPECT_EQ(Run("one", first), "exec(copy(base,v1))");
  EXPECT_EQ(first.base->runs, 1);
  EXPECT_EQ(first.base->parts_asked, 2);
  EXPECT_EQ(first.context->runs, 1);
  EXPECT_EQ(first.copy->runs, 1);
  EXPECT_EQ(first.copy->prepares, 2);
  EXPECT_EQ(first.exec->runs, 1);
  EXPECT_EQ(story_, (std::vector<std::string>{"announce", "start", "done"}));
  // Records: two of the base, one each of copy and exec; none of the context.
  EXPECT_EQ(world_.cache->records().size(), 4u);
  // Links: k_B, k_B' and c to f, f to x.
  EXPECT_EQ(world_.cache->links().size(), 4u);
  const MissReport& miss = world_.cache->misses().at(1);
  EXPECT_EQ(miss.identity.name, "copy");
  EXPECT_EQ(miss.parts.back().label, "content of context:/src");
}

TEST_F(WalksTest, NothingChangedRunsOnlyTheSync) {
  Graph first = Make("s1", "v1");
  Run("one", first);
  Graph again = Make("s2", "v1");
  EXPECT_EQ(Run("two", again), "exec(copy(base,v1))");
  EXPECT_EQ(again.base->runs, 0);
  EXPECT_EQ(again.base->parts_asked, 1);
  EXPECT_EQ(again.context->runs, 1);
  EXPECT_EQ(again.copy->digests, 1);
  EXPECT_EQ(again.copy->runs, 0);
  EXPECT_EQ(again.copy->prepares, 0);
  EXPECT_EQ(again.exec->runs, 0);
  EXPECT_EQ(story_, (std::vector<std::string>{"announce", "cached"}));
}

TEST_F(WalksTest, ChangedSourceRunsWhatDependsOnIt) {
  Graph first = Make("s1", "v1");
  Run("one", first);
  Graph changed = Make("s2", "v2");
  EXPECT_EQ(Run("two", changed), "exec(copy(base,v2))");
  EXPECT_EQ(changed.base->runs, 0);
  EXPECT_EQ(changed.copy->runs, 1);
  EXPECT_EQ(changed.exec->runs, 1);
  // Back to the older source: the older results, not the newer ones.
  Graph back = Make("s3", "v1");
  EXPECT_EQ(Run("three", back), "exec(copy(base,v1))");
  EXPECT_EQ(back.copy->runs, 0);
  EXPECT_EQ(back.exec->runs, 0);
}

TEST_F(WalksTest, MovedTagWithTheSameLayersHitsByChainId) {
  Graph first = Make("s1", "v1");
  Run("one", first);
  Graph moved = Make("s2", "v1", "manifest-2");
  EXPECT_EQ(Run("two", moved), "exec(copy(base,v1))");
  EXPECT_EQ(moved.base->parts_asked, 2);
  EXPECT_EQ(moved.copy->runs, 0);
}

TEST_F(WalksTest, SecondClientMeetsAtTheKeysAndFollows) {
  world_.outside.Hold("run copy");
  Graph mine = Make("s1", "v1");
  Graph theirs = Make("s2", "v1");
  auto one = world_.NewBuild("one");
  auto two = world_.NewBuild("two");
  world_.Load(one, mine.builder);
  world_.Load(two, theirs.builder);
  const auto first = world_.Ask(one, "X");
  const auto second = world_.Ask(two, "X");
  EXPECT_EQ(world_.outside.waiting(), std::vector<std::string>{"run copy"});
  EXPECT_TRUE(world_.outside.Release("run copy"));
  world_.Settle();
  EXPECT_EQ(first->value(), "exec(copy(base,v1))");
  EXPECT_EQ(second->value(), "exec(copy(base,v1))");
  EXPECT_EQ(mine.copy->runs + theirs.copy->runs, 1);
  EXPECT_EQ(mine.exec->runs + theirs.exec->runs, 1);
  EXPECT_EQ(two.sink->Story("F"), (std::vector<std::string>{"announce", "start", "done"}));
}

TEST_F(WalksTest, LostResultIsRepaired) {
  Graph first = Make("s1", "v1");
  Run("one", first);
  Graph again = Make("s2", "v1");
  auto build = world_.NewBuild("two");
  world_.Load(build, again.builder);
  const auto answer = world_.Ask(build, "X");
  ASSERT_TRUE(answer->ok());
  EXPECT_EQ(again.exec->runs, 0);
  Answer repaired;
  build.job->Repair(**answer->result, DataLoss("blob unknown"),
                    [&](Result<ResultHandle> result) { repaired.result = std::move(result); });
  world_.Settle();
  EXPECT_EQ(repaired.value(), "exec(copy(base,v1))");
  EXPECT_EQ(again.exec->runs, 1);
  EXPECT_EQ(again.copy->runs, 0);  // its record is still good
  EXPECT_GT((*repaired.result)->generation(), (*answer->result)->generation());
}

// One copy on the other, each from a stage of its own: they are made beside each other, whether the
// copies are known by content or not.
class StagesTest : public Test {
 protected:
  static constexpr int kStages = 5;

  // `round` is in the key of every step of a stage, never in what it makes.
  TestWorld::Build Load(const std::string& round, const std::string& content) {
    GraphBuilder graph;
    graph.Add("copy0", world_.NewOp("base"));
    runs_.clear();
    copies_.clear();
    for (int i = 1; i <= kStages; ++i) {
      const std::string number = std::to_string(i);
      FakeOpSpec run;
      run.name = "run" + number;
      run.digests = {FakeDigest("run" + number + round)};
      run.body = [value = content + number](const RunContext&) -> Result<RunOutput> {
        return RunOutput{{FakeValue(value)}, ""};
      };
      runs_.push_back(world_.NewOp(std::move(run)));
      copies_.push_back(world_.NewOp("copy" + number, {InputKey{}, InputKey{"", true}}));
      graph.Add("run" + number, runs_.back());
      graph.Add("copy" + number, copies_.back(),
                {{"copy" + std::to_string(i - 1)}, {"run" + number}});
    }
    auto build = world_.NewBuild(round);
    world_.Load(build, graph);
    return build;
  }

  void ExpectAllAtOnce(TestWorld::Build& build) {
    world_.outside.Hold("run run");
    const auto answer = world_.Ask(build, "copy" + std::to_string(kStages));
    EXPECT_EQ(world_.outside.waiting().size(), size_t{kStages});
    world_.outside.ReleaseAll();
    world_.Settle();
    EXPECT_TRUE(answer->ok()) << answer->error();
    for (const auto& run : runs_) EXPECT_EQ(run->runs, 1);
    build.job->Discard();
    world_.Settle();
  }
  int CopyRuns() const {
    int sum = 0;
    for (const auto& copy : copies_) sum += copy->runs;
    return sum;
  }

  TestWorld world_{[] {
    SolverOptions options;
    options.slots[static_cast<size_t>(SlotKind::kExec)] = kStages;
    return options;
  }()};
  std::vector<std::shared_ptr<FakeOp>> runs_, copies_;
};

TEST_F(StagesTest, RunBesideEachOtherAtFirst) {
  auto build = Load("one", "a");
  ExpectAllAtOnce(build);
  EXPECT_EQ(CopyRuns(), kStages);
}

TEST_F(StagesTest, RunBesideEachOtherWhereCopiesAreKnownByContent) {
  auto first = Load("one", "a");
  ExpectAllAtOnce(first);
  auto second = Load("two", "a");
  ExpectAllAtOnce(second);
  EXPECT_EQ(CopyRuns(), 0);
}

TEST_F(StagesTest, RunBesideEachOtherWhereOneCopyIsNew) {
  auto first = Load("one", "a");
  ExpectAllAtOnce(first);
  auto second = Load("two", "b");
  ExpectAllAtOnce(second);
  EXPECT_EQ(CopyRuns(), kStages);
}

}  // namespace
}  // namespace kiln::solver
