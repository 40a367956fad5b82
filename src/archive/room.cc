#include "archive/room.h"

#include <sys/statvfs.h>

#include <algorithm>

namespace kiln::archive {
namespace {

constexpr uint64_t kMostReserved = 256 << 20;

}  // namespace

Status RoomTaker::Take(int64_t bytes) {
  if (!room_) return OkStatus();
  left_ -= bytes;
  if (left_ >= 0) return OkStatus();
  const int64_t step = std::max(kRoomStep, -left_);
  TRY(room_(step));
  left_ += step;
  return OkStatus();
}

RoomFunction KeepFree(int fd, int64_t reserve) {
  return [fd, reserve](int64_t bytes) -> Status {
    struct statvfs space{};
    if (fstatvfs(fd, &space) != 0) return OkStatus();
    const uint64_t free = uint64_t{space.f_bavail} * space.f_frsize;
    if (free >= static_cast<uint64_t>(reserve) + static_cast<uint64_t>(bytes)) return OkStatus();
    return ResourceExhausted("the disk is nearly full: {} bytes are free, of which {} are kept",
                             free, reserve);
  };
}

int64_t DefaultReserve(int fd) {
  struct statvfs space{};
  if (fstatvfs(fd, &space) != 0) return 0;
  const uint64_t share = uint64_t{space.f_blocks} * space.f_frsize / 50;
  return static_cast<int64_t>(std::min(share, kMostReserved));
}

}  // namespace kiln::archive
