#include "ops/step_log.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/strings.h"
#include "progress/log_keeper.h"

namespace kiln::ops {
namespace {

constexpr size_t kEndBytes = 256 << 10;

void Override(const char* text, int64_t* value) {
  if (text == nullptr) return;
  const auto number = ParseInt(text);
  if (!number || *number > std::numeric_limits<int32_t>::max()) return;
  *value = std::max<int64_t>(*number, -1);
}

// "2MiB", "1.5KiB".
std::string Size(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:g}{}", value, kUnits[unit]);
}

}  // namespace

LogLimits LogLimits::From(const std::function<const char*(const char*)>& getenv) {
  LogLimits limits;
  Override(getenv("BUILDKIT_STEP_LOG_MAX_SIZE"), &limits.max_bytes);
  Override(getenv("BUILDKIT_STEP_LOG_MAX_SPEED"), &limits.max_bytes_per_second);
  return limits;
}

StepLog::StepLog(std::shared_ptr<progress::Sink> sink, const Clock& clock, LogLimits limits)
    : sink_(std::move(sink)), clock_(clock), limits_(limits), started_(clock.Steady()) {}

StepLog::Channel& StepLog::ChannelOf(progress::Stream stream) {
  return channels_[stream == progress::Stream::kStdout ? 0 : 1];
}

StepLog::Limit StepLog::LimitNow() const {
  Limit limit{.bytes = limits_.max_bytes};
  if (limits_.max_bytes_per_second < 0 || limits_.max_bytes < 0) return limit;
  // Each second counts from its beginning.
  const int64_t seconds =
      std::chrono::floor<std::chrono::seconds>(clock_.Steady() - started_).count() + 1;
  const int64_t by_now = seconds * limits_.max_bytes_per_second;
  if (by_now <= limit.bytes) limit = {.bytes = by_now, .by_speed = true};
  return limit;
}

std::string StepLog::Notice(bool by_speed) const {
  const std::string limit =
      by_speed ? Size(limits_.max_bytes_per_second) + "/s" : Size(limits_.max_bytes);
  return fmt::format("\n[output clipped, log limit {} reached]\n", limit);
}

void StepLog::Write(progress::Stream stream, std::string_view data) {
  Channel& channel = ChannelOf(stream);
  const Limit limit = LimitNow();
  const int64_t room =
      limit.bytes < 0 ? std::numeric_limits<int64_t>::max() : limit.bytes - channel.bytes;
  channel.bytes += static_cast<int64_t>(data.size());
  const bool fits = std::cmp_less_equal(data.size(), std::max<int64_t>(room, 0));
  const std::string_view shown =
      data.substr(0, fits ? data.size() : static_cast<size_t>(std::max<int64_t>(room, 0)));
  if (!shown.empty()) sink_->OnLog(Piece(stream, std::string(shown)));
  if (!fits) {
    if (!channel.clipping) progress::SendShownLog(*sink_, Piece(stream, Notice(limit.by_speed)));
    progress::SendKeptLog(*sink_, Piece(stream, std::string(data.substr(shown.size()))));
  }
  channel.clipping = !fits;
  channel.clipped = channel.clipped || !fits;
  if (channel.clipped) {
    channel.end += data;
    // Cut rarely: what is cut off at the front moves the rest.
    if (channel.end.size() > 2 * kEndBytes) channel.end.erase(0, channel.end.size() - kEndBytes);
  }
}

void StepLog::ShowEnd() {
  for (const auto stream : {progress::Stream::kStdout, progress::Stream::kStderr}) {
    std::string end = std::move(ChannelOf(stream).end);
    ChannelOf(stream) = {};
    if (end.size() > kEndBytes) end.erase(0, end.size() - kEndBytes);
    if (!end.empty()) progress::SendShownLog(*sink_, Piece(stream, std::move(end)));
  }
}

progress::VertexLog StepLog::Piece(progress::Stream stream, std::string data) const {
  return {.vertex = Digest(), .timestamp = clock_.Now(), .stream = stream, .data = std::move(data)};
}

}  // namespace kiln::ops
