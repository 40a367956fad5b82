#include "client/tty_display.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>

namespace kiln::client {
namespace {

constexpr std::chrono::milliseconds kDrawInterval{100};
constexpr size_t kTailLines = 6;
constexpr size_t kMaxLogLines = 100'000;
constexpr const char* kBlue = "\x1b[34m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kPlain = "\x1b[0m";

// Cuts at a number of characters (UTF-8 sequences count once).
std::string Fit(std::string_view text, size_t width) {
  size_t columns = 0;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (columns++ == width) break;
  }
  return std::string(text.substr(0, i));
}

size_t Columns(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

TtyDisplay::TtyDisplay(std::FILE* out, const Clock& clock)
    : out_(out), clock_(clock), began_(clock.Now()), thread_([this] { Run(); }) {}

TtyDisplay::~TtyDisplay() { Finish(); }

void TtyDisplay::OnVertex(const progress::Vertex& vertex) {
  std::lock_guard lock(mutex_);
  auto& step = by_digest_[vertex.digest];
  if (step == nullptr) {
    if (!vertex.started) {
      steps_.push_back({.vertex = vertex});
      step = &steps_.back();
      return;
    }
    steps_.push_back({});
    step = &steps_.back();
  }
  if (!vertex.started) {
    if (!step->vertex.started) step->vertex = vertex;
    return;
  }
  if (!skew_) skew_ = clock_.Now() - *vertex.started;
  const bool first_start = !step->vertex.started;
  const bool again = step->vertex.started && step->vertex.started != vertex.started;
  if (again && step->vertex.completed)
    step->earlier_runs += *step->vertex.completed - *step->vertex.started;
  step->vertex = vertex;
  if (first_start) {
    // In the order of starting: move behind the last one that has started.
    const auto self =
        std::find_if(steps_.begin(), steps_.end(), [&](const Step& one) { return &one == step; });
    const auto place = std::find_if(steps_.begin(), steps_.end(), [&](const Step& one) {
      return &one != step && !one.vertex.started;
    });
    steps_.splice(place, steps_, self);
  }
  if (vertex.completed) {
    for (std::string& line : lines_.Flush(vertex.digest)) step->log.push_back(std::move(line));
    if (vertex.error.empty()) step->log.clear();
  }
}

void TtyDisplay::OnStatus(const progress::VertexStatus& status) {
  std::lock_guard lock(mutex_);
  const auto found = by_digest_.find(status.vertex);
  if (found == by_digest_.end() || !status.started) return;
  auto& statuses = found->second->statuses;
  const auto known = std::find_if(statuses.begin(), statuses.end(),
                                  [&](const auto& one) { return one.id == status.id; });
  if (known == statuses.end()) {
    statuses.push_back(status);
  } else {
    *known = status;
  }
}

void TtyDisplay::OnLog(const progress::VertexLog& log) {
  std::lock_guard lock(mutex_);
  const auto found = by_digest_.find(log.vertex);
  if (found == by_digest_.end()) return;
  Step& step = *found->second;
  for (std::string& line : lines_.Add(log)) {
    step.log_tail.push_back(line);
    if (step.log_tail.size() > kTailLines) step.log_tail.pop_front();
    if (step.log.size() < kMaxLogLines) step.log.push_back(std::move(line));
  }
}

void TtyDisplay::OnWarning(const progress::VertexWarning& warning) {
  std::lock_guard lock(mutex_);
  warnings_.push_back(CleanLine(warning.short_text));
}

void TtyDisplay::Run() {
  std::unique_lock lock(mutex_);
  while (!finished_) {
    Draw(false);
    changed_.wait_for(lock, kDrawInterval, [this] { return finished_; });
  }
}

std::string TtyDisplay::Header() const {
  size_t completed = 0;
  for (const Step& step : steps_) completed += step.vertex.completed ? 1 : 0;
  const bool all = completed == steps_.size() && finished_;
  return fmt::format("[+] Building {} ({}/{}){}", FormatSeconds(clock_.Now() - began_), completed,
                     steps_.size(), all ? " FINISHED" : "");
}

std::string TtyDisplay::TimeColumn(const std::string& text, const std::string& time,
                                   size_t width) const {
  const size_t room = width > time.size() + 2 ? width - time.size() - 2 : 10;
  const std::string fitted = Fit(text, room);
  return fitted + std::string(room - std::min(room, Columns(fitted)) + 1, ' ') + time;
}

void TtyDisplay::AppendStep(const Step& step, bool last, std::vector<std::string>* lines) const {
  const progress::Vertex& vertex = step.vertex;
  if (!vertex.started) return;
  const WallTime now = clock_.Now() - skew_.value_or(nanoseconds(0));
  const nanoseconds took = step.earlier_runs + (vertex.completed.value_or(now) - *vertex.started);
  std::string name = CleanLine(vertex.name);
  const char* color = "";
  if (IsCancelledText(vertex.error)) {
    name = "CANCELED " + name;
    color = kYellow;
  } else if (!vertex.error.empty()) {
    name = "ERROR " + name;
    color = kRed;
  } else if (vertex.completed) {
    if (vertex.cached) name = "CACHED " + name;
    color = kBlue;
  }
  lines->push_back(
      color + TimeColumn(" => " + name, FormatSeconds(std::max(took, nanoseconds(0))), width_) +
      kPlain);
  for (const progress::VertexStatus& status : step.statuses) {
    const auto time = status.completed.value_or(now) - *status.started;
    lines->push_back((status.completed ? kBlue : "") +
                     TimeColumn(" => => " + CleanLine(FormatStatus(status)),
                                FormatSeconds(std::max<nanoseconds>(time, nanoseconds(0))),
                                width_) +
                     kPlain);
  }
  if (vertex.completed || last) return;
  for (const std::string& line : step.log_tail)
    lines->push_back(Fit(" => => # " + line, width_) + kPlain);
}

void TtyDisplay::Draw(bool last) {
  winsize size{};
  if (ioctl(fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 && size.ws_row > 5) {
    width_ = size.ws_col;
    height_ = size.ws_row;
  }
  std::string out;
  if (drawn_lines_ > 0) out += fmt::format("\x1b[{}A\r\x1b[J", drawn_lines_);
  std::vector<std::string> lines = {Fit(Header(), width_)};
  for (const Step& step : steps_) AppendStep(step, last, &lines);
  if (!last && lines.size() >= height_) {
    // The newest lines count; the header stays.
    lines.erase(lines.begin() + 1,
                lines.begin() + 1 + static_cast<ptrdiff_t>(lines.size() - height_ + 1));
  }
  for (const std::string& line : lines) out += line + "\n";
  drawn_lines_ = lines.size();
  std::fwrite(out.data(), 1, out.size(), out_);
  std::fflush(out_);
}

void TtyDisplay::PrintFailures() {
  for (const Step& step : steps_) {
    if (step.vertex.error.empty() || IsCancelledText(step.vertex.error)) continue;
    fmt::print(out_, "------\n > {}:\n", CleanLine(step.vertex.name));
    for (const std::string& line : step.log) fmt::print(out_, "{}{}\n", line, kPlain);
    fmt::print(out_, "------\n");
  }
  if (!warnings_.empty())
    fmt::print(out_, "\n {}{} warning(s) found:{}\n", kYellow, warnings_.size(), kPlain);
  for (const std::string& warning : warnings_) fmt::print(out_, " - {}\n", warning);
  std::fflush(out_);
}

void TtyDisplay::Finish() {
  {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = true;
    changed_.notify_all();
  }
  thread_.join();
  std::lock_guard lock(mutex_);
  Draw(true);
  PrintFailures();
}

}  // namespace kiln::client
