// Cancellation, loops and pools.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "base/cancel.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/parallel.h"
#include "base/pool.h"
#include "base/thread.h"

namespace kiln {
namespace {

TEST(CancelTest, FirstReasonWinsAndReachesChildren) {
  CancelSource parent;
  CancelSource child(parent.token());
  CancelToken token = child.token();
  EXPECT_TRUE(token.Check().ok());
  int calls = 0;
  auto registration = token.OnCancel([&] { ++calls; });
  parent.Cancel(DeadlineExceeded("too late"));
  parent.Cancel();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(token.Check().error().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(token.WaitFor(std::chrono::hours(1)));
  auto late = token.OnCancel([&] { ++calls; });
  EXPECT_EQ(calls, 2);
}

TEST(CancelTest, ChildDoesNotCancelParent) {
  CancelSource parent;
  CancelSource child(parent.token());
  child.Cancel();
  EXPECT_FALSE(parent.cancelled());
  EXPECT_TRUE(CancelToken().Check().ok());
}

TEST(EventLoopTest, RunsInOrderAndTimers) {
  EventLoop loop("test");
  std::vector<int> seen;
  for (int i = 0; i < 3; ++i) loop.Post([&seen, i] { seen.push_back(i); });
  std::promise<void> fired;
  loop.PostAfter(std::chrono::milliseconds(1), [&] { fired.set_value(); });
  auto never = loop.PostAfter(std::chrono::hours(1), [&] { seen.push_back(99); });
  loop.CancelTimer(never);
  fired.get_future().wait();
  loop.RunAndWait([&] { EXPECT_TRUE(loop.OnLoopThread()); });
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2}));
}

TEST(EventLoopTest, StoppedTimersDoNotFire) {
  EventLoop loop("test");
  std::atomic<int> fired = 0;
  loop.PostAfter(std::chrono::milliseconds(20), [&] { ++fired; });
  loop.StopTimers();
  loop.PostAfter(std::chrono::milliseconds(0), [&] { ++fired; });
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  loop.RunAndWait([] {});  // tasks still run
  EXPECT_EQ(fired, 0);
}

TEST(ManualQueueTest, IsDrivenByHand) {
  ManualQueue queue;
  int runs = 0;
  queue.PostAfter(std::chrono::seconds(5), [&] { ++runs; });
  queue.Advance(std::chrono::seconds(4));
  queue.RunAll();
  EXPECT_EQ(runs, 0);
  queue.Advance(std::chrono::seconds(1));
  queue.RunAll();
  EXPECT_EQ(runs, 1);
}

TEST(WorkerPoolTest, GrowsAndRunsEverything) {
  std::atomic<int> runs = 0;
  std::promise<void> release;
  auto released = release.get_future().share();
  std::promise<void> second_ran;
  {
    WorkerPool pool("test", 4);
    pool.Submit([&] { released.wait(); });
    pool.Submit([&] { second_ran.set_value(); });  // not stuck behind the first
    second_ran.get_future().wait();
    for (int i = 0; i < 100; ++i) pool.Submit([&] { ++runs; });
    release.set_value();
  }
  EXPECT_EQ(runs, 100);
}

TEST(ForEachParallelTest, RunsAllAndReturnsTheFirstError) {
  WorkerPool pool("test", 2);
  std::atomic<int> sum = 0;
  EXPECT_TRUE(ForEachParallel(pool, 3, 100, [&](size_t i) {
                sum += static_cast<int>(i);
                return OkStatus();
              }).ok());
  EXPECT_EQ(sum, 4950);
  EXPECT_TRUE(ForEachParallel(pool, 4, 0, [](size_t) { return OkStatus(); }).ok());
  std::atomic<int> begun = 0;
  auto status = ForEachParallel(pool, 1, 10, [&](size_t i) -> Status {
    ++begun;
    if (i >= 3) return Internal("number {}", i);
    return OkStatus();
  });
  EXPECT_EQ(status.error().message(), "number 3");
  EXPECT_EQ(begun, 4);
}

TEST(ForEachParallelTest, MakesProgressWhileThePoolIsBusy) {
  WorkerPool pool("test", 1);
  std::promise<void> release;
  pool.Submit([done = release.get_future().share()] { done.wait(); });
  int runs = 0;
  EXPECT_TRUE(ForEachParallel(pool, 1, 5, [&](size_t) {
                ++runs;
                return OkStatus();
              }).ok());
  EXPECT_EQ(runs, 5);
  release.set_value();
}

TEST(FdTest, ReadsAndWritesWholeFiles) {
  std::string path = testing::TempDir() + "/fd_test_file";
  ASSERT_TRUE(WriteFileAtomically(path, "hello").ok());
  EXPECT_EQ(*ReadFile(path), "hello");
  EXPECT_EQ(ReadFile(path, 3).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(ReadFile(path + "x").error().code(), Code::kNotFound);
  auto pair = Pipe();
  ASSERT_TRUE(pair.ok());
  ASSERT_TRUE(WriteAll(pair->second.get(), "abc").ok());
  pair->second.Reset();
  EXPECT_EQ(*ReadAll(pair->first.get()), "abc");
}

TEST(ThreadTest, RunsItsBody) {
  std::atomic<bool> ran = false;
  auto thread = StartThread("a name that is longer than the kernel's", [&] { ran = true; });
  ASSERT_TRUE(thread.ok());
  thread->join();
  EXPECT_TRUE(ran);
}

TEST(ThreadTest, HasRoomForDeepTrees) {
  size_t size = 0;
  auto thread = StartThread("deep", [&] {
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
    pthread_attr_getstacksize(&attributes, &size);
    pthread_attr_destroy(&attributes);
  });
  ASSERT_TRUE(thread.ok());
  thread->join();
  EXPECT_GE(size, size_t{8} << 20);
}

TEST(ThreadTest, WhereTheSystemGivesNoneIsAnError) {
  auto in_a_child = [] {
    rlimit none{0, 0};
    setrlimit(RLIMIT_NPROC, &none);
    // The limit does not hold for root.
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
    auto thread = StartThread("none", [] {});
    // At once: what looks for leaks at the end starts a thread itself.
    _exit(!thread.ok() && thread.error().code() == Code::kResourceExhausted ? 0 : 1);
  };
  EXPECT_EXIT(in_a_child(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace kiln
