#include "base/thread_set.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace kiln {
namespace {

TEST(ThreadSetTest, EndedThreadsMakeRoomAgain) {
  ThreadSet threads("test", 2);
  std::atomic<int> ran{0};
  for (int i = 0; i < 200; ++i) {
    // Those before may still be on their way out.
    while (!threads.Run([&] { ++ran; }).ok()) std::this_thread::yield();
  }
  while (ran < 200) std::this_thread::yield();
}

TEST(ThreadSetTest, RefusesMoreThanTheLimit) {
  std::promise<void> go;
  const std::shared_future<void> gone(go.get_future());
  ThreadSet threads("test", 2);
  EXPECT_TRUE(threads.Run([gone] { gone.wait(); }).ok());
  EXPECT_TRUE(threads.Run([gone] { gone.wait(); }).ok());
  bool ran = false;
  EXPECT_EQ(threads.Run([&] { ran = true; }).error().code(), Code::kResourceExhausted);
  go.set_value();
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace kiln
