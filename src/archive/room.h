#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"

namespace kiln::archive {

// Is asked for room on the disk before so many bytes are written; an error says that there is none.
using RoomFunction = std::function<Status(int64_t bytes)>;

// How much is asked for at a time.
inline constexpr int64_t kRoomStep = 1 << 20;

// Takes room in steps, so that whoever gives it is not asked for each piece. One thread at a time.
class RoomTaker {
 public:
  // `room` outlives the taker; null: there is always room.
  explicit RoomTaker(const RoomFunction& room) : room_(room) {}
  Status Take(int64_t bytes);

 private:
  const RoomFunction& room_;
  int64_t left_ = 0;
};

// Gives room as long as the file system of `fd` keeps `reserve` bytes free: a small archive may
// unpack to more than the disk holds, and what else lives there must not fail first.
// ResourceExhausted otherwise. `fd` stays open as long as the function is used.
RoomFunction KeepFree(int fd, int64_t reserve);

}  // namespace kiln::archive
