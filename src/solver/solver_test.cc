// Levels, matching, importers, losses, resources, jobs and exports.
#include "solver/solver.h"

#include <gtest/gtest.h>

#include "solver/local_view.h"
#include "solver/lost.h"
#include "solver/memory_cache.h"
#include "solver/resources.h"
#include "solver/testing/test_world.h"

namespace kiln::solver {
namespace {

using Story = std::vector<std::string>;

class SolverTest : public testing::Test {
 protected:
  // source → a → b
  GraphBuilder Chain(const std::string& suffix = "") {
    GraphBuilder graph;
    graph.Add("S", source_ = world_.NewOp("source" + suffix));
    graph.Add("A", a_ = world_.NewOp("a", {InputKey{}}), {{"S"}});
    graph.Add("B", b_ = world_.NewOp("b", {InputKey{}}), {{"A"}});
    return graph;
  }
  TestWorld::Build Load(const std::string& ref, const GraphBuilder& graph,
                        std::vector<Importer> importers = {}) {
    auto build = world_.NewBuild(ref, std::move(importers));
    world_.Load(build, graph);
    return build;
  }

  TestWorld world_;
  std::shared_ptr<FakeOp> source_, a_, b_;
};

TEST_F(SolverTest, HitNeedsNoInputResult) {
  auto one = Load("one", Chain());
  EXPECT_EQ(world_.Ask(one, "B")->value(), "b(a(source()))");
  one.job->Discard();
  world_.Settle();
  auto two = Load("two", Chain());
  EXPECT_EQ(world_.Ask(two, "B")->value(), "b(a(source()))");
  EXPECT_EQ(source_->runs + a_->runs + b_->runs, 0);
  // Inputs that were never needed show as cached too.
  EXPECT_EQ(two.sink->Story("A"), (Story{"announce", "cached"}));
  EXPECT_EQ(two.sink->Story("B"), (Story{"announce", "cached"}));
}

TEST_F(SolverTest, CollectedRecordIsRunAgainFromStoredInputs) {
  auto one = Load("one", Chain());
  world_.Ask(one, "B");
  one.job->Discard();
  world_.Settle();
  for (const auto& [id, record] : std::map(world_.cache->records())) {
    if (record.info.origin.vertex_name == "B") world_.cache->DropNow(id);
  }
  auto two = Load("two", Chain());
  EXPECT_EQ(world_.Ask(two, "B")->value(), "b(a(source()))");
  EXPECT_EQ(a_->runs, 0);
  EXPECT_EQ(b_->runs, 1);
}

TEST_F(SolverTest, ErrorOfAKeyMapFailsTheStep) {
  FakeOpSpec spec;
  spec.name = "image";
  spec.shows_key_map = true;
  spec.key_map_status = [](int) -> Status { return NotFound("no such tag"); };
  GraphBuilder graph;
  graph.Add("I", world_.NewOp(spec));
  graph.Add("A", world_.NewOp("a", {InputKey{}}), {{"I"}});
  auto build = Load("one", graph);
  const auto answer = world_.Ask(build, "A");
  EXPECT_EQ(answer->error(), "failed to load cache key: no such tag");
  EXPECT_EQ(answer->result->error().code(), Code::kNotFound);
  EXPECT_EQ(build.sink->Story("I"), (Story{"announce", "start", "error: no such tag"}));
  EXPECT_EQ(world_.Stats().open_asks, 0u);
}

TEST_F(SolverTest, ErrorOfAContentDigestFailsTheStepAndShowsIt) {
  FakeOpSpec spec;
  spec.name = "copy";
  spec.inputs = {InputKey{"", true}};
  spec.content = [](int, const ResultHandle&) -> Result<std::string> {
    return NotFound("no such file");
  };
  GraphBuilder graph;
  graph.Add("S", world_.NewOp("source"));
  graph.Add("C", world_.NewOp(spec), {{"S"}});
  auto build = Load("one", graph);
  EXPECT_EQ(world_.Ask(build, "C")->error(), "failed to compute cache key: no such file");
  EXPECT_EQ(build.sink->Story("C"), (Story{"announce", "start", "error: no such file"}));
}

TEST_F(SolverTest, FailureCancelsWhatOnlyTheFailedStepWanted) {
  world_.outside.Hold("run slow");
  FakeOpSpec bad;
  bad.name = "bad";
  bad.body = [](const RunContext&) -> Result<RunOutput> { return Unknown("boom"); };
  GraphBuilder graph;
  auto slow = world_.NewOp("slow");
  graph.Add("L", slow);
  graph.Add("F", world_.NewOp(bad));
  graph.Add("X", world_.NewOp("x", {InputKey{}, InputKey{}}), {{"L"}, {"F"}});
  auto build = Load("one", graph);
  EXPECT_EQ(world_.Ask(build, "X")->error(), "boom");
  EXPECT_TRUE(slow->activity.cancel.cancelled());
}

TEST_F(SolverTest, LostInputIsRepairedAndTheRunNotRepeated) {
  int losses = 0;
  GraphBuilder graph;
  FakeOpSpec source;
  source.name = "source";
  auto s = world_.NewOp(source);
  graph.Add("S", s);
  FakeOpSpec user;
  user.name = "user";
  user.inputs = {InputKey{}};
  user.prepare = [&](int, const ResultHandle&) -> Status {
    if (losses++ == 0) return LostError({}, "blob unknown");
    return OkStatus();
  };
  auto u = world_.NewOp(user);
  graph.Add("U", u, {{"S"}});
  auto build = Load("one", graph);
  EXPECT_EQ(world_.Ask(build, "U")->value(), "user(source())");
  EXPECT_EQ(s->runs, 2);
  EXPECT_EQ(u->runs, 1);
}

TEST_F(SolverTest, ResultLostTooOftenIsAnError) {
  FakeOpSpec user;
  user.name = "user";
  user.inputs = {InputKey{}};
  user.prepare = [](int, const ResultHandle&) -> Status { return LostError({}, "blob unknown"); };
  GraphBuilder graph;
  graph.Add("S", world_.NewOp("source"));
  graph.Add("U", world_.NewOp(user), {{"S"}});
  auto build = Load("one", graph);
  EXPECT_NE(world_.Ask(build, "U")->error().find("was lost 9 times"), std::string::npos);
}

TEST_F(SolverTest, LosingABlobInvalidatesEveryResultOnIt) {
  FakeOpSpec spec;
  spec.name = "layer";
  spec.body = [](const RunContext&) -> Result<RunOutput> {
    return RunOutput{{std::make_shared<FakeResult>(std::map<std::string, std::string>{{"", "v"}},
                                                   std::vector<std::string>{"blob"})},
                     ""};
  };
  GraphBuilder graph;
  auto op = world_.NewOp(spec);
  graph.Add("L", op);
  auto build = Load("one", graph);
  world_.Ask(build, "L");
  world_.solver->MarkLost({"blob"});
  world_.Settle();
  EXPECT_TRUE(world_.cache->records().empty());
  EXPECT_EQ(world_.Ask(build, "L")->value(), "v");
  EXPECT_EQ(op->runs, 2);
}

// The store of another machine, which answers when told to.
class SlowImporter final : public MemoryCache {
 public:
  explicit SlowImporter(Held& outside) : MemoryCache("slow"), outside_(outside) {}
  void Lookup(std::vector<LinkTuple> tuples, progress::Activity activity,
              Callback<std::vector<std::vector<LinkChild>>> done) override {
    outside_.Later("import", [=, this] { MemoryCache::Lookup(tuples, activity, done); });
  }
  void Records(std::vector<KeyId> ids, progress::Activity activity,
               Callback<std::vector<KeyInfo>> done) override {
    outside_.Later("import", [=, this] { MemoryCache::Records(ids, activity, done); });
  }

 private:
  Held& outside_;
};

class ImporterTest : public SolverTest {
 protected:
  // Another machine builds the chain into the importer.
  void Fill() {
    Solver other(world_.loop, world_.clock, importer_);
    JobOptions options;
    options.ref = "other";
    auto job = *other.NewJob(options);
    const GraphBuilder graph = Chain();
    auto ids = *job->Load(graph.specs());
    job->Get({ids.back(), 0}, [](Result<ResultHandle>) {});
    world_.Settle();
    job->Discard();
    world_.Settle();
    ASSERT_EQ(importer_->records().size(), 3u);
  }
  std::shared_ptr<SlowImporter> importer_ = std::make_shared<SlowImporter>(world_.outside);
};

TEST_F(ImporterTest, HitOfAnImporterIsSavedWithItsChain) {
  Fill();
  auto one = Load("one", Chain(), {{importer_}});
  EXPECT_EQ(world_.Ask(one, "B")->value(), "b(a(source()))");
  EXPECT_EQ(source_->runs + a_->runs + b_->runs, 0);
  one.job->Discard();
  world_.Settle();
  // Next time the local store has it, without the importer.
  auto two = Load("two", Chain());
  EXPECT_EQ(world_.Ask(two, "B")->value(), "b(a(source()))");
  EXPECT_EQ(b_->runs, 0);
}

TEST_F(ImporterTest, SilentImporterDelaysOnlyForItsPatience) {
  Fill();
  world_.outside.Hold("import");
  auto one = Load("one", Chain(), {{importer_, std::chrono::seconds(5)}});
  const auto answer = world_.Ask(one, "B");
  EXPECT_FALSE(answer->result);
  EXPECT_EQ(source_->runs, 0);
  for (int i = 0; i < 10 && !answer->result; ++i) {
    world_.loop.Advance(std::chrono::seconds(5));
    world_.Settle();
  }
  EXPECT_EQ(answer->value(), "b(a(source()))");
  EXPECT_EQ(b_->runs, 1);
  EXPECT_EQ(world_.cache->misses().front().reason, MissReason::kImporterLate);
}

TEST_F(SolverTest, SlotsLimitRuns) {
  SolverOptions options;
  options.slots[static_cast<size_t>(SlotKind::kExec)] = 2;
  TestWorld world(options);
  world.outside.Hold("run");
  GraphBuilder graph;
  std::vector<InputKey> keys;
  std::vector<GraphBuilder::In> ins;
  for (const char* name : {"p", "q", "r"}) {
    FakeOpSpec spec;
    spec.name = name;
    spec.needs.slot = SlotKind::kExec;
    graph.Add(name, world.NewOp(spec));
    ins.push_back({name});
    keys.emplace_back();
  }
  graph.Add("X", world.NewOp("x", keys), ins);
  auto build = world.NewBuild("one");
  world.Load(build, graph);
  const auto answer = world.Ask(build, "X");
  EXPECT_EQ(world.outside.waiting().size(), 2u);
  world.outside.ReleaseAll();
  world.Settle();
  EXPECT_EQ(answer->value(), "x(p(),q(),r())");
  EXPECT_EQ(world.Stats().slots_in_use, 0u);
}

// Eight stalled clients must not stop everybody's transfers.
TEST_F(SolverTest, ABuildThatWaitsLeavesOthersTheirSlots) {
  SolverOptions options;
  options.slots_of_one_build[static_cast<size_t>(SlotKind::kSource)] = 2;
  TestWorld world(options);
  world.outside.Hold("run");
  GraphBuilder slow;
  std::vector<InputKey> keys;
  std::vector<GraphBuilder::In> ins;
  for (const char* name : {"p", "q", "r"}) {
    FakeOpSpec spec;
    spec.name = name;
    spec.needs.slot = SlotKind::kSource;
    slow.Add(name, world.NewOp(spec));
    ins.push_back({name});
    keys.emplace_back();
  }
  slow.Add("X", world.NewOp("x", keys), ins);
  auto stalled = world.NewBuild("stalled");
  world.Load(stalled, slow);
  const auto never = world.Ask(stalled, "X");
  EXPECT_EQ(world.outside.waiting().size(), 2u);
  GraphBuilder quick;
  FakeOpSpec spec;
  spec.name = "other";
  spec.needs.slot = SlotKind::kSource;
  quick.Add("other", world.NewOp(spec));
  auto other = world.NewBuild("other");
  world.Load(other, quick);
  const auto answer = world.Ask(other, "other");
  EXPECT_EQ(world.outside.waiting().size(), 3u);
  world.outside.ReleaseAll();
  world.Settle();
  EXPECT_EQ(answer->value(), "other()");
  EXPECT_EQ(never->value(), "x(p(),q(),r())");
}

// A cache whose disk answers nothing but errors.
class BrokenCache : public MemoryCache {
 public:
  void Lookup(std::vector<LinkTuple>, progress::Activity,
              Callback<std::vector<std::vector<LinkChild>>> done) override {
    if (broken) return done(DataLoss("malformed"));
    done(std::vector<std::vector<LinkChild>>(1));
  }
  bool broken = true;
};

TEST(LocalViewTest, ACacheThatCannotBeReadIsKnownToBe) {
  auto disk = std::make_shared<BrokenCache>();
  LocalView view(disk);
  EXPECT_FALSE(view.unreadable());
  size_t answers = 0;
  auto count = [&](const auto& found) { answers += found.ok() ? found->size() : 100; };
  view.Lookup({{"p", 0, "d", 0, ""}}, {}, count);
  EXPECT_TRUE(view.unreadable());
  disk->broken = false;
  view.Lookup({{"p", 0, "d", 0, ""}}, {}, count);
  EXPECT_FALSE(view.unreadable());
  EXPECT_EQ(answers, 2u);  // a build is answered all the same
}

TEST(ResourcesTest, BuildsTakeTurnsAndWithinOneWhoCameFirst) {
  const FaultPlan faults;
  Resources resources({0, 1, 0, 0, 0}, {}, faults);
  std::vector<std::string> order;
  auto request = [&](uint64_t build, const std::string& name) {
    return resources.Request({.slot = SlotKind::kExec}, build,
                             [&, name] { order.push_back(name); });
  };
  std::vector<Resources::Ticket> tickets;
  for (const char* name : {"a1", "a2", "a3"}) tickets.push_back(request(1, name));
  for (const char* name : {"b1", "b2"}) tickets.push_back(request(2, name));
  const auto withdrawn = request(3, "c1");
  resources.Release(withdrawn);
  // Each gives its slot back in the order in which it got it.
  const std::vector<size_t> ends = {0, 3, 1, 4, 2};
  for (const size_t end : ends) resources.Release(tickets[end]);
  EXPECT_EQ(order, (std::vector<std::string>{"a1", "b1", "a2", "b2", "a3"}));
  EXPECT_EQ(resources.slots_in_use(), 0u);
  EXPECT_EQ(resources.tickets(), 0u);
}

TEST_F(SolverTest, DiscardLeavesNothing) {
  auto one = Load("one", Chain());
  world_.Ask(one, "B");
  bool done = false;
  one.job->Discard([&] { done = true; });
  const SolverStats stats = world_.Stats();
  EXPECT_TRUE(done);
  EXPECT_EQ(stats.vertices + stats.flights + stats.pending_links + stats.locks_held + stats.scopes +
                stats.open_asks + stats.open_tickets + stats.memory_links,
            0u);
}

TEST_F(SolverTest, JobsAreUniqueAndRefuseWhatTheyDoNotHave) {
  auto one = world_.NewBuild("one");
  EXPECT_EQ(world_.solver->NewJob({"one", {}, nullptr, {}}).error().ToString(),
            "job ID one exists");
  auto answer = std::make_shared<Answer>();
  one.job->Get({Sha256Of("x"), 0}, [&](Result<ResultHandle> r) { answer->result = std::move(r); });
  world_.Settle();
  EXPECT_NE(answer->error().find("was not loaded"), std::string::npos);
  VertexSpec bad;
  bad.name = "bad";
  bad.op = world_.NewOp("bad");
  bad.inputs = {{3, 0}};
  EXPECT_FALSE(one.job->Load({bad}).ok());
}

TEST_F(SolverTest, ExportWalksBackToTheRoots) {
  auto one = Load("one", Chain());
  world_.Ask(one, "B");
  ExportGraph graph;
  one.job->Export({one.steps.at("B")}, [&](Result<ExportGraph> got) {
    ASSERT_TRUE(got.ok());
    graph = std::move(*got);
  });
  world_.Settle();
  ASSERT_EQ(graph.nodes.size(), 3u);
  EXPECT_TRUE(graph.nodes[0].root);
  EXPECT_EQ(graph.nodes[0].exported_id, RootKeyId(FakeDigest("source"), 0));
  EXPECT_EQ(graph.nodes[2].exported_id, ExportedKeyId(FakeDigest("b"), 0));
  EXPECT_EQ(graph.nodes[2].inputs.at(0).at(0).node, 1u);
  EXPECT_EQ(graph.nodes[2].records.size(), 1u);
  EXPECT_TRUE(graph.nodes[2].live);
  EXPECT_EQ(graph.roots, (std::vector<std::vector<size_t>>{{2}}));
  StoredResultPtr claimed;
  world_.solver->Claim(graph.nodes[1].records.front(), {},
                       [&](Result<StoredResultPtr> got) { claimed = *got; });
  world_.Settle();
  EXPECT_EQ(AsFake(claimed).Read(""), "a(source())");
}

TEST_F(SolverTest, WithdrawnAskIsAnsweredWithItsReason) {
  world_.outside.Hold("run");
  auto one = Load("one", Chain());
  Answer answer;
  const AskId ask = one.job->Get(
      one.steps.at("B"), [&](Result<ResultHandle> result) { answer.result = std::move(result); });
  world_.Settle();
  one.job->Withdraw(ask, DeadlineExceeded("too slow"));
  world_.Settle();
  EXPECT_EQ(answer.error(), "too slow");
  EXPECT_TRUE(source_->activity.cancel.cancelled());
}

// Deep graphs: nothing recurses, and work per step does not grow with depth.
TEST_F(SolverTest, ChainOfTenThousandSteps) {
  for (const std::string ref : {"first", "again"}) {
    GraphBuilder graph;
    std::string last = "0";
    graph.Add(last, world_.NewOp("0"));
    for (int i = 1; i < 10000; ++i) {
      const std::string name = std::to_string(i);
      FakeOpSpec spec;
      spec.name = name;
      spec.inputs = {InputKey{}};
      spec.body = [](const RunContext&) -> Result<RunOutput> {
        return RunOutput{{FakeValue("v")}, ""};
      };
      graph.Add(name, world_.NewOp(std::move(spec)), {{last}});
      last = name;
    }
    auto build = Load(ref, graph);
    EXPECT_EQ(world_.Ask(build, last)->value(), "v");
    build.job->Discard();
    world_.Settle();
  }
  EXPECT_EQ(world_.cache->records().size(), 10000u);
}

}  // namespace
}  // namespace kiln::solver
