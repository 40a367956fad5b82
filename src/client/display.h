#pragma once

#include <cstdio>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "progress/progress.h"

namespace kiln::client {

enum class DisplayMode { kAuto, kPlain, kTty, kQuiet, kRawJson };

// "auto", "plain", "tty", "quiet", "rawjson" ("none" is "quiet").
Result<DisplayMode> ParseDisplayMode(std::string_view name);

// Unless the environment has NO_COLOR (no-color.org).
bool WantsColours();

// Shows a build's progress while it runs. Thread-safe as every sink; draws at its own pace.
class Display : public progress::Sink {
 public:
  // After the last event: shows what is left, ends lines.
  virtual void Finish() = 0;
};

// Writes to `out`, which is not closed. kAuto: tty if `out` is a terminal, else plain.
std::shared_ptr<Display> MakeDisplay(DisplayMode mode, std::FILE* out, const Clock& clock);

}  // namespace kiln::client
