#include "client/plain_display.h"

#include <fmt/format.h>

namespace kiln::client {
namespace {

// Unfinished statuses are repeated at most this often.
constexpr std::chrono::seconds kStatusInterval{5};

}  // namespace

void PlainDisplay::Print(const Step& step, std::string_view text) {
  fmt::print(out_, "#{} {}\n", step.number, text);
  std::fflush(out_);
}

// Makes `digest` the step whose lines are being printed, with a heading when that changes.
PlainDisplay::Step& PlainDisplay::Switch(const Digest& digest) {
  Step& step = steps_[digest];
  if (current_ == digest && step.number != 0) return step;
  if (const auto last = steps_.find(current_); last != steps_.end() && last->second.number != 0) {
    if (!last->second.completed) Print(last->second, "...");
    fmt::print(out_, "\n");
  }
  if (step.number == 0) step.number = next_number_++;
  current_ = digest;
  Print(step, step.name);
  return step;
}

void PlainDisplay::OnVertex(const progress::Vertex& vertex) {
  std::lock_guard lock(mutex_);
  Step& known = steps_[vertex.digest];
  known.name = CleanLine(vertex.name);
  if (!vertex.started) return;
  const bool again = known.started && known.started != vertex.started;
  if (known.completed && !again) return;
  known.started = vertex.started;
  known.completed.reset();
  Step& step = Switch(vertex.digest);
  if (!vertex.completed) return;
  for (const std::string& line : lines_.Flush(vertex.digest)) Print(step, line);
  step.completed = vertex.completed;
  if (IsCancelledText(vertex.error)) {
    Print(step, "CANCELED");
  } else if (!vertex.error.empty()) {
    Print(step, "ERROR: " + vertex.error);
  } else if (vertex.cached) {
    Print(step, "CACHED");
  } else {
    Print(step, "DONE " + FormatSeconds(*vertex.completed - *vertex.started));
  }
}

void PlainDisplay::OnStatus(const progress::VertexStatus& status) {
  std::lock_guard lock(mutex_);
  const auto found = steps_.find(status.vertex);
  if (found == steps_.end() || !status.started) return;
  auto [printed, first] = found->second.statuses.try_emplace(status.id, WallTime(), false);
  if (printed->second.second) return;
  const bool due = first || status.timestamp - printed->second.first >= kStatusInterval;
  if (!status.completed && !due) return;
  printed->second = {status.timestamp, status.completed.has_value()};
  Print(Switch(status.vertex), CleanLine(FormatStatus(status)));
}

void PlainDisplay::OnLog(const progress::VertexLog& log) {
  std::lock_guard lock(mutex_);
  if (!steps_.contains(log.vertex)) return;
  for (const std::string& line : lines_.Add(log)) {
    const Step& step = Switch(log.vertex);
    const auto since = step.started ? log.timestamp - *step.started : nanoseconds(0);
    Print(step, fmt::format("{:.3f} {}", std::chrono::duration<double>(since).count(), line));
  }
}

void PlainDisplay::OnWarning(const progress::VertexWarning& warning) {
  std::lock_guard lock(mutex_);
  if (!steps_.contains(warning.vertex)) {
    fmt::print(out_, "WARNING: {}\n", CleanLine(warning.short_text));
    std::fflush(out_);
    return;
  }
  Print(Switch(warning.vertex), "WARNING: " + CleanLine(warning.short_text));
}

void PlainDisplay::Finish() {
  std::lock_guard lock(mutex_);
  std::fflush(out_);
}

}  // namespace kiln::client
