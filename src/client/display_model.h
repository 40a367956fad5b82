#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "progress/progress.h"

namespace kiln::client {

// Texts that displays share.
std::string FormatSeconds(nanoseconds time);  // "0.1s", "72.4s"
std::string FormatStatus(
    const progress::VertexStatus& status);  // "transferring context: 1.2kB / 3MB 0.2s done"
bool IsCancelledText(std::string_view error);
// Control bytes that would move the cursor are dropped; tabs and colours stay.
std::string CleanLine(std::string_view line);

// Cuts raw pieces of log into lines, per vertex and stream.
class LineSplitter {
 public:
  // Complete lines, without their ends; a carriage return starts the line anew.
  std::vector<std::string> Add(const progress::VertexLog& log);
  // What is left of a vertex' last line.
  std::vector<std::string> Flush(const Digest& vertex);

 private:
  std::map<std::pair<Digest, progress::Stream>, std::string> rest_;
};

}  // namespace kiln::client
