#include "client/plain_screen.h"

#include <fmt/format.h>

#include <algorithm>

namespace kiln::client {
namespace {

// Unfinished statuses are repeated at most this often.
constexpr std::chrono::seconds kStatusInterval{5};
// A step that has ended may begin again at once (what it resolved, it then fetches): its end is
// shown when it has lasted.
constexpr std::chrono::milliseconds kSettles{100};
// A step that shows something keeps its turn for so long, one that shows nothing for less.
constexpr std::chrono::seconds kTurn{5};
constexpr std::chrono::seconds kSilence{1};
constexpr size_t kTailLines = 20;

}  // namespace

PlainScreen::PlainScreen(bool colours, std::map<Digest, int> numbers)
    : lines_(colours), numbers_(std::move(numbers)) {
  for (const auto& [digest, number] : numbers_) next_number_ = std::max(next_number_, number + 1);
}

void PlainScreen::Add(Step& step, std::string line, WallTime now) {
  if (step.pending.empty()) step.pending_since = now;
  step.pending.push_back(std::move(line));
}

void PlainScreen::AddLog(Step& step, std::string line, WallTime at, WallTime now) {
  const nanoseconds since = step.started ? at - *step.started : nanoseconds(0);
  line = fmt::format("{:.3f} {}", std::chrono::duration<double>(since).count(), line);
  step.tail.push_back(line);
  if (step.tail.size() > kTailLines) step.tail.pop_front();
  ++step.log_lines;
  Add(step, std::move(line), now);
}

void PlainScreen::OnVertex(const progress::Vertex& vertex, WallTime now) {
  const auto [found, added] = steps_.try_emplace(vertex.digest);
  Step& step = found->second;
  step.digest = vertex.digest;
  step.name = CleanLine(vertex.name);
  if (!vertex.started) return;
  const bool first = !step.started;
  const bool again = !first && step.started != vertex.started;
  if (step.completed && !again) return;
  if (again && step.completed) step.earlier_runs += *step.completed - *step.started;
  if (first) {
    order_.push_back(vertex.digest);
    step.pending_since = now;
  }
  step.started = vertex.started;
  step.completed = vertex.completed;
  step.error = vertex.error;
  step.ending.clear();
  if (!vertex.completed) return;
  for (std::string& line : lines_.Flush(vertex.digest))
    AddLog(step, std::move(line), *vertex.completed, now);
  step.ended_at = now;
  if (IsCancelledText(vertex.error)) {
    step.ending = "CANCELED";
  } else if (!vertex.error.empty()) {
    step.ending = "ERROR: " + CleanText(vertex.error);
  } else if (vertex.cached) {
    step.ending = "CACHED";
  } else {
    step.ending =
        "DONE " + FormatSeconds(step.earlier_runs + (*vertex.completed - *vertex.started));
  }
}

void PlainScreen::OnStatus(const progress::VertexStatus& status, WallTime now) {
  const auto found = steps_.find(status.vertex);
  if (found == steps_.end() || !status.started) return;
  Step& step = found->second;
  const auto [shown, first] = step.statuses.try_emplace(status.id, WallTime(), false);
  auto& [last, done] = shown->second;
  if (done) return;
  // What is over at once is shown once.
  if (first && !status.completed) {
    last = status.timestamp;
    return;
  }
  if (!status.completed && status.timestamp - last < kStatusInterval) return;
  last = status.timestamp;
  done = status.completed.has_value();
  Add(step, FormatStatus(status), now);
}

void PlainScreen::OnLog(const progress::VertexLog& log, WallTime now) {
  const auto found = steps_.find(log.vertex);
  if (found == steps_.end()) return;
  for (std::string& line : lines_.Add(log))
    AddLog(found->second, std::move(line), log.timestamp, now);
}

void PlainScreen::OnWarning(const progress::VertexWarning& warning, WallTime now) {
  std::string text = "WARN: " + CleanLine(warning.short_text);
  const auto found = steps_.find(warning.vertex);
  if (found == steps_.end() || !found->second.started) {
    loose_.push_back(std::move(text));
  } else {
    Add(found->second, std::move(text), now);
  }
}

bool PlainScreen::HasSomething(const Step& step) const {
  return step.started && (step.number == 0 || !step.pending.empty());
}

// The lines of a step that wait, under its heading where that is not the last one shown.
void PlainScreen::Show(Step& step, bool with_ending, WallTime now, std::string* out) {
  const bool ends = with_ending && !step.ending.empty();
  if (!HasSomething(step) && !ends) return;
  if (current_ != &step) {
    if (current_ != nullptr) {
      if (!current_->ending.empty() || !current_->completed)
        *out += fmt::format("#{} ...\n", current_->number);
      *out += "\n";
    }
    if (step.number == 0) {
      const auto given = numbers_.find(step.digest);
      step.number = given != numbers_.end() ? given->second : next_number_++;
    }
    *out += fmt::format("#{} {}\n", step.number, step.name);
    current_ = &step;
    current_since_ = now;
  }
  for (const std::string& line : step.pending) *out += fmt::format("#{} {}\n", step.number, line);
  step.pending.clear();
  if (ends) *out += fmt::format("#{} {}\n", step.number, std::exchange(step.ending, ""));
  current_shown_ = now;
}

// Whose turn it is once the current one has had its own: whoever has waited longest.
PlainScreen::Step* PlainScreen::Next(WallTime now) {
  const bool over = current_ == nullptr || (current_->completed && current_->ending.empty()) ||
                    now - current_shown_ >= kSilence || now - current_since_ >= kTurn;
  if (!over) return nullptr;
  Step* next = nullptr;
  for (const Digest& digest : order_) {
    Step& step = steps_.at(digest);
    if (&step == current_ || !HasSomething(step)) continue;
    if (next == nullptr || step.pending_since < next->pending_since) next = &step;
  }
  return next;
}

std::string PlainScreen::Draw(WallTime now, ScreenSize) {
  std::string out;
  for (const std::string& line : std::exchange(loose_, {})) out += line + "\n";
  const auto settled = [&](const Step& step) {
    return !step.ending.empty() && now - step.ended_at >= kSettles;
  };
  if (current_ != nullptr) Show(*current_, settled(*current_), now, &out);
  for (const Digest& digest : order_) {
    Step& step = steps_.at(digest);
    if (settled(step)) Show(step, true, now, &out);
  }
  if (Step* next = Next(now); next != nullptr) Show(*next, settled(*next), now, &out);
  return out;
}

std::string PlainScreen::Failures() const {
  std::string text;
  for (const Digest& digest : order_) {
    const Step& step = steps_.at(digest);
    if (step.error.empty() || IsCancelledText(step.error)) continue;
    text += fmt::format("------\n > {}:\n", step.name);
    if (step.log_lines > step.tail.size())
      text += fmt::format("({} earlier lines)\n", step.log_lines - step.tail.size());
    for (const std::string& line : step.tail) text += line + "\n";
    text += "------\n";
  }
  return text;
}

std::string PlainScreen::Finish(WallTime now, ScreenSize size) {
  std::string out = Draw(now, size);
  if (current_ != nullptr) Show(*current_, true, now, &out);
  for (const Digest& digest : order_) {
    Step& step = steps_.at(digest);
    Show(step, true, now, &out);
  }
  return out + Failures();
}

}  // namespace kiln::client
