#include "archive/room.h"

#include <sys/statvfs.h>

#include <algorithm>

namespace kiln::archive {

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

}  // namespace kiln::archive
