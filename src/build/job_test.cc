#include "build/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>
#include <mutex>

#include "base/ids.h"
#include "base/loop.h"
#include "build/files.h"
#include "cachedb/cachedb.h"
#include "cdi/registry.h"
#include "llb/build.h"
#include "llb/marshal.h"
#include "llb/source_map.h"
#include "ops/factory.h"
#include "store/store.h"

namespace kiln::build {
namespace {

using llb::CopyAction;
using llb::File;
using llb::MkdirAction;
using llb::MkfileAction;
using llb::Output;
using llb::RmAction;
using testing::ElementsAre;

// The last state of every vertex, by name.
class Recorder final : public progress::Sink {
 public:
  void OnVertex(const progress::Vertex& vertex) override {
    std::lock_guard lock(mutex_);
    vertices_[vertex.name] = vertex;
  }
  void OnStatus(const progress::VertexStatus&) override {}
  void OnLog(const progress::VertexLog&) override {}
  void OnWarning(const progress::VertexWarning&) override {}

  std::map<std::string, progress::Vertex> vertices() const {
    std::lock_guard lock(mutex_);
    return vertices_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, progress::Vertex> vertices_;
};

// A whole engine: store, cache, solver and the ops that need no container.
class JobTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/build-" + NewId();
    ASSERT_EQ(::mkdir(root_.c_str(), 0755), 0);
    auto store = store::Store::Open({.root = root_ + "/store"});
    ASSERT_TRUE(store.ok()) << store.error().ToString();
    store_ = std::move(*store);
    auto cache = cachedb::CacheDb::Open(root_ + "/cache.db", *store_);
    ASSERT_TRUE(cache.ok()) << cache.error().ToString();
    cache_ = std::move(*cache);
    solver_ = std::make_unique<solver::Solver>(loop_, clock_, cache_);
    SetUpWith(8);
  }
  void SetUpWith(size_t threads) {
    pool_ = std::make_unique<WorkerPool>("build-test", threads);
    factory_ = std::make_unique<ops::Factory>(ops::Services{*store_, *pool_, clock_});
    environment_ = {.solver = solver_.get(),
                    .store = store_.get(),
                    .ops = factory_.get(),
                    .clock = &clock_,
                    .blocking = pool_.get()};
  }
  void TearDown() override {
    std::promise<void> drained;
    solver_->Drain([&] { drained.set_value(); });
    drained.get_future().get();
    loop_.RunAndWait([] {});
    solver_.reset();
    loop_.RunAndWait([] {});
    factory_.reset();
    cache_.reset();
    // A task that has completed may still hold its result.
    pool_.reset();
    store_.reset();
    std::filesystem::remove_all(root_);
  }

  JobPtr NewJob(JobOptions options = {}) {
    if (options.ref.empty()) options.ref = NewId();
    auto job = Job::Start(environment_, std::move(options));
    EXPECT_TRUE(job.ok()) << job.error().ToString();
    return *job;
  }
  static pb::Definition DefinitionOf(const Output& output) {
    auto definition = llb::Marshal(output);
    EXPECT_TRUE(definition.ok()) << definition.error().ToString();
    return std::move(*definition);
  }

  std::string root_;
  SystemClock clock_;
  std::unique_ptr<WorkerPool> pool_;
  EventLoop loop_{"build-test"};
  std::unique_ptr<store::Store> store_;
  std::shared_ptr<cachedb::CacheDb> cache_;
  std::unique_ptr<solver::Solver> solver_;
  std::unique_ptr<ops::Factory> factory_;
  Environment environment_;
};

Output Sources(const std::string& content) {
  return File({},
              {MkdirAction{.path = "/src"}, MkfileAction{.path = "/src/a", .data = content},
               MkfileAction{.path = "/other"}},
              {.name = "sources"});
}

Output Built(const std::string& content) {
  return File(File({}, {MkdirAction{.path = "/out"}}, {.name = "base"}),
              {CopyAction{.from = Sources(content), .src = "/src/a", .dest = "/out/"}},
              {.name = "copy"});
}

TEST_F(JobTest, EvaluatesAndReadsFiles) {
  JobPtr job = NewJob();
  auto reference = job->Load(DefinitionOf(Built("hello")));
  ASSERT_TRUE(reference.ok()) << reference.error().ToString();
  EXPECT_FALSE((*reference)->Evaluated().has_value());
  auto text = ReadFile(job->activity(), **reference, "/out/a");
  ASSERT_TRUE(text.ok()) << text.error().ToString();
  EXPECT_EQ(*text, "hello");
  EXPECT_EQ(ReadFile(job->activity(), **reference, "/out/a", FileRange{1, 3}).value(), "ell");
  EXPECT_EQ(ReadFile(job->activity(), **reference, "/none").error().message(),
            "open /none: no such file or directory");
  auto entries = ReadDir(job->activity(), **reference, "/", "");
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_EQ((*entries)[0].path, "out");
  EXPECT_TRUE(StatFile(job->activity(), **reference, "/out")->info.IsDirectory());
  auto scratch = job->Load({});
  ASSERT_TRUE(scratch.ok());
  EXPECT_TRUE(ReadDir(job->activity(), **scratch, "/", "")->empty());
}

TEST_F(JobTest, ASecondBuildRunsNothing) {
  for (bool cached : {false, true}) {
    auto recorder = std::make_shared<Recorder>();
    JobPtr job = NewJob({.sink = recorder});
    auto reference = job->Load(DefinitionOf(Built("hello")));
    ASSERT_TRUE(reference.ok());
    ASSERT_TRUE((*reference)->Evaluate(job->activity()).ok());
    EXPECT_EQ(recorder->vertices()["copy"].cached, cached);
  }
  // Other content elsewhere in the input does not matter, in what is copied it does.
  for (const char* content : {"hello", "changed"}) {
    auto recorder = std::make_shared<Recorder>();
    JobPtr job = NewJob({.sink = recorder});
    Output sources = File(Sources(content), {MkfileAction{.path = "/other", .data = "x"}});
    auto reference = job->Load(DefinitionOf(
        File(File({}, {MkdirAction{.path = "/out"}}),
             {CopyAction{.from = sources, .src = "/src/a", .dest = "/out/"}}, {.name = "copy"})));
    ASSERT_TRUE(reference.ok());
    ASSERT_TRUE((*reference)->Evaluate(job->activity()).ok());
    EXPECT_EQ(recorder->vertices()["copy"].cached, std::string(content) == "hello");
  }
}

TEST_F(JobTest, IgnoreCacheRunsAgain) {
  for (bool ignore : {false, true}) {
    auto recorder = std::make_shared<Recorder>();
    JobPtr job = NewJob({.sink = recorder});
    auto reference = job->Load(DefinitionOf(
        File({}, {MkdirAction{.path = "/x"}}, {.name = "step", .ignore_cache = ignore})));
    ASSERT_TRUE(reference.ok());
    ASSERT_TRUE((*reference)->Evaluate(job->activity()).ok());
    EXPECT_FALSE(recorder->vertices()["step"].cached);
  }
}

TEST_F(JobTest, FailuresNameVertexAndLines) {
  auto file = std::make_shared<llb::SourceFile>(
      llb::SourceFile{.filename = "Dockerfile", .data = "RUN x\n"});
  pb::Definition definition =
      DefinitionOf(File({}, {RmAction{.path = "/none"}},
                        {.name = "step", .locations = {{file, {{{1, 0}, {1, 0}}}}}}));
  auto recorder = std::make_shared<Recorder>();
  JobPtr job = NewJob({.sink = recorder});
  auto reference = job->Load(definition);
  ASSERT_TRUE(reference.ok());
  auto result = (*reference)->Evaluate(job->activity());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::kUnknown);
  EXPECT_NE(result.error().FindDetail(llb::kVertexDetailType), nullptr);
  EXPECT_NE(result.error().FindDetail(llb::kSourceDetailType), nullptr);
  EXPECT_EQ(recorder->vertices()["step"].error, "stat /none: no such file or directory");
}

TEST_F(JobTest, MissingSourcesOfCopiesAreReportedAsUpstreamDoes) {
  JobPtr job = NewJob();
  auto reference = job->Load(
      DefinitionOf(File(File({}, {MkdirAction{.path = "/out"}}),
                        {CopyAction{.from = Sources("x"), .src = "/none", .dest = "/out/"}})));
  ASSERT_TRUE(reference.ok());
  auto result = (*reference)->Evaluate(job->activity());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().ToString(),
              testing::MatchesRegex("failed to compute cache key: failed to calculate checksum of "
                                    "ref .*: \"/none\": not found"));
}

TEST_F(JobTest, RefusesAtLoad) {
  JobPtr job = NewJob();
  auto error = [&](const Output& output) {
    auto reference = job->Load(DefinitionOf(output));
    return reference.ok() ? "" : reference.error().ToString();
  };
  Output base = File({}, {MkdirAction{.path = "/x"}});
  EXPECT_EQ(
      error(llb::Exec({.root = base, .args = {"x"}, .network = llb::NetworkMode::kHost}).root),
      "failed to load LLB: network.host is not allowed");
  EXPECT_EQ(error(llb::Exec({.root = base, .args = {"x"}}).root),
            "failed to load LLB: exec operations are not supported by this build server");
  EXPECT_EQ(error(llb::Source({"git://github.com/a/b", {{"git.bundle", "x"}}})),
            "failed to load LLB: requested feature source.git.bundle is not supported by this "
            "build server");
  job = NewJob({.rewrite_source = [](pb::SourceOp&) -> Result<bool> { return Unknown("denied"); }});
  EXPECT_EQ(error(llb::Source({"docker-image://a", {}})),
            "failed to load LLB: error evaluating the source policy: denied");
  EXPECT_EQ(Job::Start(environment_, {.ref = job->ref()}).error().message(),
            "job ID " + job->ref() + " exists");
  EXPECT_EQ(Job::Start(environment_, {.ref = "x", .entitlements = {"nonsense"}}).error().message(),
            "unknown entitlement nonsense");
}

TEST_F(JobTest, DevicesAreDisabledWithoutARegistry) {
  JobPtr job = NewJob();
  const auto load = [&](bool optional) {
    llb::ExecSpec exec{.root = File({}, {MkdirAction{.path = "/x"}}), .args = {"x", "y"}};
    exec.devices = {{.name = "v.com/x", .optional = optional}};
    return job->Load(DefinitionOf(llb::Exec(std::move(exec)).root));
  };
  const auto refused = load(false);
  ASSERT_TRUE(refused.ok());
  EXPECT_EQ(
      (*refused)->Evaluate(job->activity()).error().ToString(),
      "failed to load LLB: CDI device \"v.com/x\" is required by step \"x y\", but CDI device "
      "support is disabled");
  // The next thing that this environment lacks.
  EXPECT_EQ(load(true).error().ToString(),
            "failed to load LLB: exec operations are not supported by this build server");
}

TEST_F(JobTest, DevicesAreAskedForWhenTheResultIs) {
  cdi::Registry none({}, {});
  environment_.devices = &none;
  JobPtr job = NewJob();
  Output base = File({}, {MkdirAction{.path = "/x"}});
  auto reference = job->Load(DefinitionOf(
      llb::Exec({.root = base, .args = {"x"}, .devices = {{.name = "v.com/x"}}}).root));
  ASSERT_TRUE(reference.ok());
  EXPECT_FALSE((*reference)->is_scratch());
  auto result = (*reference)->Evaluate(job->activity());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().ToString(),
            "failed to load LLB: required device \"v.com/x\" is not registered");
  std::promise<std::string> said;
  (*reference)->EvaluateAsync([&](Result<store::SnapshotRef> answer) {
    said.set_value(answer.ok() ? "" : answer.error().ToString());
  });
  EXPECT_EQ(said.get_future().get(), result.error().ToString());
}

// Nothing of the pool is taken by those who wait: the ops need it.
TEST_F(JobTest, ManyResultsNeedNoThreadEach) {
  SetUpWith(2);
  JobPtr job = NewJob();
  std::vector<ReferencePtr> references;
  for (int i = 0; i < 4; ++i)
    references.push_back(*job->Load(DefinitionOf(Built(std::to_string(i)))));
  std::promise<Status> all;
  // On the pool itself, as a frontend inside a step would be.
  pool_->Submit([&] { all.set_value(EvaluateAll(job->activity(), references)); });
  auto done = all.get_future();
  ASSERT_EQ(done.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_TRUE(done.get().ok());
  for (const ReferencePtr& reference : references) EXPECT_TRUE(reference->Evaluated());
  EXPECT_TRUE(EvaluateAll(job->activity(), references).ok());
}

TEST_F(JobTest, TheFirstFailureEndsTheWait) {
  JobPtr job = NewJob();
  ReferencePtr good = *job->Load(DefinitionOf(Built("x")));
  ReferencePtr bad =
      *job->Load(DefinitionOf(File({}, {RmAction{.path = "/none"}}, {.name = "remove"})));
  const Status status = EvaluateAll(job->activity(), {good, bad, good});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().ToString(), testing::HasSubstr("/none"));
  EXPECT_NE(status.error().FindDetail(llb::kVertexDetailType), nullptr);
  job->Cancel(Cancelled("the client went away"));
  ReferencePtr lone = good;
  good.reset();
  EXPECT_FALSE(EvaluateAll(job->activity(), {lone}).ok());
}

// A reference that nobody holds any more answers all the same.
TEST_F(JobTest, AnAskKeepsItsReference) {
  JobPtr job = NewJob();
  ReferencePtr reference = *job->Load(DefinitionOf(Built("x")));
  std::promise<Result<store::SnapshotRef>> said;
  reference->EvaluateAsync(
      [&](Result<store::SnapshotRef> answer) { said.set_value(std::move(answer)); });
  reference.reset();
  EXPECT_TRUE(said.get_future().get().ok());
}

TEST_F(JobTest, LongChainsWork) {
  Output state;
  for (int i = 0; i < 100; ++i)
    state = File(state, {MkfileAction{.path = "/n", .data = std::to_string(i)}});
  JobPtr job = NewJob();
  auto reference = job->Load(DefinitionOf(state));
  ASSERT_TRUE(reference.ok());
  EXPECT_EQ(ReadFile(job->activity(), **reference, "/n").value(), "99");
}

TEST_F(JobTest, CancelEndsIt) {
  JobPtr job = NewJob();
  auto reference = job->Load(DefinitionOf(Built("x")));
  ASSERT_TRUE(reference.ok());
  job->Cancel(Cancelled("the client went away"));
  auto result = (*reference)->Evaluate(job->activity());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message(), "the client went away");
}

}  // namespace
}  // namespace kiln::build
