#include "archive/room.h"

#include <gtest/gtest.h>

#include "base/fd.h"

namespace kiln::archive {
namespace {

TEST(RoomTest, IsAskedForInSteps) {
  int64_t asked = 0;
  int calls = 0;
  const RoomFunction room = [&](int64_t bytes) -> Status {
    asked += bytes;
    ++calls;
    return asked > 4 * kRoomStep ? Status(ResourceExhausted("full")) : OkStatus();
  };
  RoomTaker taker(room);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(taker.Take(kRoomStep / 1000).ok());
  EXPECT_LE(calls, 2);
  EXPECT_TRUE(taker.Take(2 * kRoomStep).ok());
  EXPECT_GE(asked, 2 * kRoomStep);
  EXPECT_EQ(taker.Take(2 * kRoomStep).error().code(), Code::kResourceExhausted);
}

TEST(RoomTest, WhatIsKeptFreeStaysFree) {
  const Fd tmp = *OpenFile(testing::TempDir(), 0);
  EXPECT_TRUE(KeepFree(tmp.get(), 0)(1).ok());
  const Status full = KeepFree(tmp.get(), INT64_MAX / 2)(1);
  ASSERT_FALSE(full.ok());
  EXPECT_NE(full.error().message().find("the disk is nearly full"), std::string::npos);
}

}  // namespace
}  // namespace kiln::archive
