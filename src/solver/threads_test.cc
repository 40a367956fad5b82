// The same engine under a real loop, with ops that complete on worker threads.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "base/loop.h"
#include "base/pool.h"
#include "solver/engine.h"
#include "solver/testing/test_world.h"

namespace kiln::solver {
namespace {

class PoolOutside final : public Outside {
 public:
  void Later(std::string, std::function<void()> complete) override {
    pool_.Submit(std::move(complete));
  }

 private:
  WorkerPool pool_{"fakes", 8};
};

TEST(ThreadsTest, ManyBuildsOfOneGraphFromManyThreads) {
  EventLoop loop("solver");
  PoolOutside outside;
  const SystemClock clock;
  auto cache = std::make_shared<MemoryCache>();
  auto solver = std::make_unique<Solver>(loop, clock, cache);
  constexpr int kBuilds = 40;
  std::mutex mutex;
  std::condition_variable changed;
  int answered = 0;
  std::vector<std::string> values;
  std::vector<JobPtr> jobs(kBuilds);
  {
    WorkerPool clients("clients", 8);
    for (int i = 0; i < kBuilds; ++i) {
      clients.Submit([&, i] {
        GraphBuilder graph;
        auto op = [&](FakeOpSpec spec) {
          return std::make_shared<FakeOp>(outside, std::move(spec));
        };
        graph.Add("S" + std::to_string(i % 4), op({.name = "source"}));
        std::string last = "S" + std::to_string(i % 4);
        for (int n = 0; n < 20; ++n) {
          const std::string name = "step " + std::to_string(n);
          graph.Add(name,
                    op({.name = name,
                        .inputs = {InputKey{"", n % 3 == 0}},
                        .needs = {SlotKind::kExec, {"lock " + std::to_string(n % 5)}},
                        .body = [](const RunContext& context) -> Result<RunOutput> {
                          progress::VertexLog log;
                          log.data = "working\n";
                          context.activity().sink->OnLog(log);
                          return RunOutput{{FakeValue(ValueOf(context.inputs()[0]) + ".")}, ""};
                        }}),
                    {{last}});
          last = name;
        }
        JobOptions options;
        options.ref = "build " + std::to_string(i);
        jobs[static_cast<size_t>(i)] = *solver->NewJob(std::move(options));
        auto& job = *jobs[static_cast<size_t>(i)];
        const auto ids = job.Load(graph.specs());
        job.Get({ids->back(), 0}, [&](Result<ResultHandle> result) {
          const std::lock_guard lock(mutex);
          values.push_back(result.ok() ? ValueOf(*result) : result.error().ToString());
          ++answered;
          changed.notify_all();
        });
        if (i % 7 == 3) job.Cancel(Cancelled("changed my mind"));
      });
    }
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answered == kBuilds; });
  }
  int good = 0;
  for (const std::string& value : values) good += value == "source()...................." ? 1 : 0;
  EXPECT_GE(good, kBuilds - 6);
  jobs.clear();
  std::mutex drained_mutex;
  std::condition_variable drained_changed;
  bool drained = false;
  solver->Drain([&] {
    const std::lock_guard lock(drained_mutex);
    drained = true;
    drained_changed.notify_all();
  });
  std::unique_lock lock(drained_mutex);
  drained_changed.wait(lock, [&] { return drained; });
  lock.unlock();
  SolverStats stats;
  loop.RunAndWait([&] { stats = solver->engine().Stats(); });
  EXPECT_EQ(stats.vertices + stats.flights + stats.slots_in_use + stats.locks_held, 0u);
}

}  // namespace
}  // namespace kiln::solver
