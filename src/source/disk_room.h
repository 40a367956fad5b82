#pragma once

// Inside source only.

#include <sys/statvfs.h>

#include <cstdint>

namespace kiln::source {

// Downloads stop before a disk is full: others need some of it too.
inline constexpr uint64_t kSpareBytes = uint64_t{64} << 20;

// What may still be written there.
inline uint64_t Room(const struct statvfs& space) {
  const uint64_t free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  return free > kSpareBytes ? free - kSpareBytes : 0;
}

}  // namespace kiln::source
