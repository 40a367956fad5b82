#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "progress/progress.h"

namespace kiln::client {

// Texts that displays share.
std::string FormatSeconds(nanoseconds time);                    // "0.1s", "72.4s"
std::string FormatBytes(int64_t bytes);                         // "512B", "1.05MB": decimal units
std::string FormatSizes(const progress::VertexStatus& status);  // "1.05MB / 3.40MB", "1.2kB", ""
// "transferring context: 1.20kB / 3.00MB 0.2s done"
std::string FormatStatus(const progress::VertexStatus& status);
bool IsCancelledText(std::string_view error);

// A line that is safe to show on a terminal, as valid UTF-8: what would move the cursor, set
// titles, ask the terminal for something or turn the direction of writing is left out, tabs stay.
// With `colours`, colours stay too, and are reset at the end.
std::string CleanLine(std::string_view line, bool colours = false);
// The same for several lines.
std::string CleanText(std::string_view text);
// A clean line with spaces up to multiples of eight columns in place of tabs.
std::string ExpandTabs(const std::string& line);

// Cuts raw pieces of log into clean lines, per vertex and stream. A carriage return starts a line
// anew: of a progress bar the last state remains.
class LineSplitter {
 public:
  explicit LineSplitter(bool colours = false) : colours_(colours) {}

  // Complete lines, without their ends.
  std::vector<std::string> Add(const progress::VertexLog& log);
  // What is left of a vertex' last lines.
  std::vector<std::string> Flush(const Digest& vertex);
  // The same, which stays.
  std::vector<std::string> Unfinished(const Digest& vertex) const;

 private:
  struct Rest {
    std::string text;
    bool returned = false;  // a carriage return came last
  };
  const bool colours_;
  std::map<std::pair<Digest, progress::Stream>, Rest> rest_;
};

}  // namespace kiln::client
