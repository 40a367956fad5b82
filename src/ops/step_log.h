#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "progress/progress.h"

namespace kiln::ops {

// How much of a step's output clients are shown, for each of its two streams. -1: any amount; no
// limit on the size is none on the speed either.
struct LogLimits {
  int64_t max_bytes = 2 << 20;
  int64_t max_bytes_per_second = 200 << 10;

  // BUILDKIT_STEP_LOG_MAX_SIZE and BUILDKIT_STEP_LOG_MAX_SPEED, as buildkitd reads them; what is
  // not a number changes nothing.
  static LogLimits From(const std::function<const char*(const char*)>& getenv);
};

// The output of one step on its way to clients, clipped where there is too much of it: a line says
// so. What they are not shown is kept all the same, where the sink does that. Used by one thread at
// a time.
class StepLog {
 public:
  StepLog(std::shared_ptr<progress::Sink> sink, const Clock& clock, LogLimits limits);

  void Write(progress::Stream stream, std::string_view data);
  // For a step that failed: the end of what was clipped is where the reason stands.
  void ShowEnd();

 private:
  struct Channel {
    int64_t bytes = 0;  // written so far, shown or not
    bool clipping = false;
    bool clipped = false;  // ever: since then `end` keeps the last of all that is written
    std::string end;
  };
  struct Limit {
    int64_t bytes = -1;
    bool by_speed = false;
  };

  Channel& ChannelOf(progress::Stream stream);
  Limit LimitNow() const;
  std::string Notice(bool by_speed) const;
  progress::VertexLog Piece(progress::Stream stream, std::string data) const;

  const std::shared_ptr<progress::Sink> sink_;
  const Clock& clock_;
  const LogLimits limits_;
  const SteadyTime started_;
  std::array<Channel, 2> channels_;
};

}  // namespace kiln::ops
