#include "client/tty_screen.h"

#include <fmt/format.h>

#include <algorithm>

#include "client/text_width.h"

namespace kiln::client {
namespace {

constexpr size_t kWindowLines = 6;
constexpr size_t kImportantLines = 2;
// Kept of each step, and shown of one that failed.
constexpr size_t kTailLines = 50;
constexpr std::chrono::milliseconds kRateAfter{500};
constexpr const char* kBlue = "\x1b[34m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kReset = "\x1b[0m";

// "sha256:" and 64 digits become the first twelve of them, as people name images.
std::string WithShortDigests(const std::string& text) {
  constexpr std::string_view kPrefix = "sha256:";
  constexpr size_t kDigits = 64;
  constexpr size_t kKept = 12;
  std::string out;
  size_t from = 0;
  for (size_t at = text.find(kPrefix); at != std::string::npos; at = text.find(kPrefix, from)) {
    const size_t digits = at + kPrefix.size();
    const size_t end = std::min(text.find_first_not_of("0123456789abcdef", digits), text.size());
    out.append(text, from, (end - digits == kDigits ? digits + kKept : end) - from);
    from = end;
  }
  return out.append(text, from);
}

nanoseconds NotNegative(nanoseconds time) { return std::max(time, nanoseconds(0)); }

// "sha256:… 1.05MB / 3.4MB 2.1MB/s"
std::string StatusText(const progress::VertexStatus& status, nanoseconds took) {
  std::string text = ExpandTabs(CleanLine(status.id));
  if (const std::string sizes = FormatSizes(status); !sizes.empty()) text += " " + sizes;
  if (!status.completed && status.total > 0 && status.current > 0 && took >= kRateAfter) {
    const double seconds = std::chrono::duration<double>(took).count();
    const auto rate = static_cast<int64_t>(static_cast<double>(status.current) / seconds);
    text += fmt::format(" {}/s", FormatBytes(rate));
  }
  return text;
}

}  // namespace

void TtyScreen::OnVertex(const progress::Vertex& vertex, WallTime now) {
  auto& step = by_digest_[vertex.digest];
  if (step == nullptr) {
    steps_.push_back({});
    step = &steps_.back();
    step->vertex.digest = vertex.digest;
  }
  if (!vertex.started) {
    if (!step->vertex.started) step->vertex = vertex;
    return;
  }
  if (!skew_) skew_ = now - *vertex.started;
  const bool first = !step->vertex.started;
  const bool again = !first && step->vertex.started != vertex.started;
  if (again && step->vertex.completed)
    step->earlier_runs += *step->vertex.completed - *step->vertex.started;
  step->vertex = vertex;
  if (first) Begin(*step);
  if (!vertex.completed) return;
  for (const std::string& line : lines_.Flush(vertex.digest)) {
    step->log.push_back(ExpandTabs(line));
    ++step->log_lines;
  }
}

// In the order of starting: behind the last one that has started.
void TtyScreen::Begin(Step& step) {
  const auto self =
      std::find_if(steps_.begin(), steps_.end(), [&](const Step& one) { return &one == &step; });
  const auto place = std::find_if(steps_.begin(), steps_.end(), [&](const Step& one) {
    return &one != &step && !one.vertex.started;
  });
  steps_.splice(place, steps_, self);
}

void TtyScreen::OnStatus(const progress::VertexStatus& status, WallTime) {
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

void TtyScreen::OnLog(const progress::VertexLog& log, WallTime) {
  const auto found = by_digest_.find(log.vertex);
  if (found == by_digest_.end()) return;
  Step& step = *found->second;
  for (const std::string& line : lines_.Add(log)) {
    step.log.push_back(ExpandTabs(line));
    if (step.log.size() > kTailLines) step.log.pop_front();
    ++step.log_lines;
  }
}

void TtyScreen::OnWarning(const progress::VertexWarning& warning, WallTime) {
  warnings_.push_back(CleanLine(warning.short_text));
}

std::string TtyScreen::Paint(const char* colour, const std::string& text) const {
  if (!colours_ || *colour == '\0') return text;
  return colour + text + kReset;
}

std::string TtyScreen::Header(WallTime now, bool last) const {
  size_t completed = 0;
  bool failed = false;
  for (const Step& step : steps_) {
    completed += step.vertex.completed ? 1 : 0;
    failed = failed || !step.vertex.error.empty();
  }
  const bool all = last && (failed || completed == steps_.size());
  const std::string text =
      fmt::format("[+] Building {} ({}/{}){}", FormatSeconds(NotNegative(now - began_)), completed,
                  steps_.size(), all ? " FINISHED" : "");
  return Paint(failed ? kRed : "", text);
}

std::string TtyScreen::Row(const std::string& text, nanoseconds time, size_t width,
                           const char* colour) const {
  const std::string right = FormatSeconds(NotNegative(time));
  const size_t room = width > right.size() + 1 ? width - right.size() - 1 : 1;
  const std::string fitted =
      FitColumns(TextColumns(text) > room ? WithShortDigests(text) : text, room);
  return Paint(colour, fitted + std::string(room + 1 - TextColumns(fitted), ' ') + right);
}

void TtyScreen::AppendStep(const Step& step, WallTime now, size_t width,
                           std::vector<Line>* lines) const {
  const progress::Vertex& vertex = step.vertex;
  if (!vertex.started) return;
  const bool running = !vertex.completed;
  std::string name = ExpandTabs(CleanLine(vertex.name));
  const char* colour = running ? "" : kBlue;
  bool failed = false;
  if (IsCancelledText(vertex.error)) {
    name = "CANCELED " + name;
    colour = kYellow;
  } else if (!vertex.error.empty()) {
    name = "ERROR " + name;
    colour = kRed;
    failed = true;
  } else if (!running && vertex.cached) {
    name = "CACHED " + name;
  }
  const nanoseconds took = step.earlier_runs + (vertex.completed.value_or(now) - *vertex.started);
  lines->push_back({running || failed ? Weight::kRunning : Weight::kEnded,
                    Row(" => " + name, took, width, colour)});
  for (const progress::VertexStatus& status : step.statuses) {
    const nanoseconds status_took = status.completed.value_or(now) - *status.started;
    const Weight weight = !running           ? Weight::kOldStatus
                          : status.completed ? Weight::kDoneStatus
                                             : Weight::kStatus;
    lines->push_back({weight, Row(" => => " + StatusText(status, status_took), status_took, width,
                                  status.completed ? kBlue : "")});
  }
  if (running) AppendLog(step, width, lines);
}

void TtyScreen::AppendLog(const Step& step, size_t width, std::vector<Line>* lines) const {
  std::vector<std::string> window(step.log.begin(), step.log.end());
  for (const std::string& rest : lines_.Unfinished(step.vertex.digest))
    window.push_back(ExpandTabs(rest));
  if (window.size() > kWindowLines)
    window.erase(window.begin(), window.end() - static_cast<ptrdiff_t>(kWindowLines));
  for (size_t i = 0; i < window.size(); ++i) {
    const bool late = i + kImportantLines >= window.size();
    lines->push_back(
        {late ? Weight::kLog : Weight::kEarlierLog, FitColumns(" => => # " + window[i], width)});
  }
}

// A terminal that becomes narrower breaks the rows that no longer fit.
size_t TtyScreen::RowsToGoUp(ScreenSize size) const {
  size_t rows = drawn_.size();
  if (size.width < drawn_width_) {
    rows = 0;
    for (const size_t columns : drawn_)
      rows += std::max<size_t>(1, (columns + size.width - 1) / size.width);
  }
  return std::min(rows, size.height - 1);
}

std::string TtyScreen::Frame(const std::vector<std::string>& rows, ScreenSize size) {
  std::string out = "\x1b[?25l";
  const size_t up = RowsToGoUp(size);
  if (up > 0) out += fmt::format("\x1b[{}A", up);
  out += "\r";
  // Where rows have been broken, what is left of them must go.
  if (size.width != drawn_width_) out += "\x1b[J";
  drawn_.clear();
  for (const std::string& row : rows) {
    out += "\x1b[2K" + row + "\n";
    drawn_.push_back(TextColumns(row));
  }
  drawn_width_ = size.width;
  return out + "\x1b[J\x1b[?25h";
}

std::string TtyScreen::Draw(WallTime now, ScreenSize size) {
  const WallTime server_now = now - skew_.value_or(nanoseconds(0));
  std::vector<Line> lines;
  for (const Step& step : steps_) AppendStep(step, server_now, size.width, &lines);
  // The header and the row of the cursor.
  const size_t room = size.height - 2;
  std::vector<size_t> kept(lines.size());
  for (size_t i = 0; i < kept.size(); ++i) kept[i] = i;
  if (kept.size() > room) {
    std::stable_sort(kept.begin(), kept.end(),
                     [&](size_t a, size_t b) { return lines[a].weight < lines[b].weight; });
    kept.erase(kept.begin(), kept.end() - static_cast<ptrdiff_t>(room));
    std::sort(kept.begin(), kept.end());
  }
  std::vector<std::string> rows = {FitColumns(Header(now, false), size.width)};
  for (const size_t i : kept) rows.push_back(std::move(lines[i].text));
  return Frame(rows, size);
}

std::string TtyScreen::Failures() const {
  std::string text;
  for (const Step& step : steps_) {
    if (step.vertex.error.empty() || IsCancelledText(step.vertex.error)) continue;
    text += fmt::format("------\n > {}:\n", CleanLine(step.vertex.name));
    if (step.log_lines > step.log.size())
      text += fmt::format("({} earlier lines)\n", step.log_lines - step.log.size());
    for (const std::string& line : step.log) text += line + "\n";
    text += "------\n";
  }
  if (warnings_.empty()) return text;
  text += "\n" + Paint(kYellow, fmt::format(" {} warning{} found:", warnings_.size(),
                                            warnings_.size() == 1 ? "" : "s"));
  text += "\n";
  for (const std::string& warning : warnings_) text += fmt::format(" - {}\n", warning);
  return text;
}

std::string TtyScreen::Finish(WallTime now, ScreenSize size) {
  const WallTime server_now = now - skew_.value_or(nanoseconds(0));
  std::vector<Line> lines;
  for (const Step& step : steps_) AppendStep(step, server_now, size.width, &lines);
  std::vector<std::string> rows = {FitColumns(Header(now, true), size.width)};
  for (Line& line : lines) {
    if (line.weight != Weight::kLog && line.weight != Weight::kEarlierLog)
      rows.push_back(std::move(line.text));
  }
  return Frame(rows, size) + Failures();
}

}  // namespace kiln::client
