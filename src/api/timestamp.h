#pragma once

#include <google/protobuf/timestamp.pb.h>

#include "base/time.h"
#include "base/unix_time.h"

// Times as protobuf has them, and back: the one place for both.
namespace kiln::api {

// What lies outside the years that kiln's times can hold becomes the nearest they can.
inline WallTime TimeOf(const google::protobuf::Timestamp& time) {
  return EventTime(time.seconds(), time.nanos());
}

inline void ToProto(WallTime time, google::protobuf::Timestamp* out) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t nanos = UnixNanos(time);
  // Nanoseconds count forward, before 1970 too.
  const int64_t seconds = nanos / kSecond - (nanos % kSecond < 0 ? 1 : 0);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(nanos - seconds * kSecond));
}

inline bool Earlier(const google::protobuf::Timestamp& a, const google::protobuf::Timestamp& b) {
  return a.seconds() != b.seconds() ? a.seconds() < b.seconds() : a.nanos() < b.nanos();
}

}  // namespace kiln::api
