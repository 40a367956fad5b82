#include "source/git_watch.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/strings.h"
#include "base/thread.h"

namespace kiln::source {
namespace {

// What accounts of progress begin with, of git itself or of the remote's.
constexpr std::array<std::string_view, 11> kProgress = {"Enumerating objects:",
                                                        "Counting objects:",
                                                        "Compressing objects:",
                                                        "Receiving objects:",
                                                        "Resolving deltas:",
                                                        "Unpacking objects:",
                                                        "Writing objects:",
                                                        "Updating files:",
                                                        "Checking connectivity",
                                                        "Finding sources:",
                                                        "Total "};

bool IsProgress(std::string_view line) {
  if (line.starts_with("remote: ")) line.remove_prefix(8);
  return std::any_of(kProgress.begin(), kProgress.end(),
                     [&](std::string_view begin) { return line.starts_with(begin); });
}

// The last of what overwrote each other on a terminal's line.
std::string_view Shown(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  return line.substr(line.rfind('\r') + 1);
}

}  // namespace

Result<std::unique_ptr<SilenceWatch>> SilenceWatch::Start(const CancelToken& outer,
                                                          std::chrono::nanoseconds most,
                                                          Error why) {
  std::unique_ptr<SilenceWatch> watch(new SilenceWatch(outer, most, std::move(why)));
  watch->Heard();
  TRY_ASSIGN(watch->thread_, StartThread("kiln-git-watch", [raw = watch.get()] { raw->Watch(); }));
  return watch;
}

SilenceWatch::~SilenceWatch() {
  {
    const MutexLock lock(mutex_);
    over_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void SilenceWatch::Heard() {
  const MutexLock lock(mutex_);
  heard_ = std::chrono::steady_clock::now();
}

void SilenceWatch::Watch() {
  MutexLock lock(mutex_);
  while (!over_) {
    const auto until = heard_ + std::chrono::ceil<std::chrono::steady_clock::duration>(most_);
    if (std::chrono::steady_clock::now() >= until) break;
    changed_.WaitUntil(lock, until);
  }
  if (over_) return;
  lock.Unlock();
  stop_.Cancel(why_);
}

std::string GitMessages::Take(std::string_view piece) {
  line_ += piece;
  std::string out;
  size_t begin = 0;
  for (size_t end = 0; (end = line_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string_view line = Shown(std::string_view(line_).substr(begin, end - begin));
    if (!IsProgress(line)) out.append(line).append("\n");
  }
  line_.erase(0, begin);
  // Of a line that is only rewritten nothing but its last state is of use.
  if (const size_t last = line_.find_last_not_of('\r'); last != std::string::npos) {
    line_.erase(0, line_.rfind('\r', last) + 1);
  }
  return out;
}

std::string GitMessages::Finish() {
  const std::string rest = std::exchange(line_, {});
  const std::string line(Shown(rest));
  return line.empty() || IsProgress(line) ? std::string() : line + "\n";
}

}  // namespace kiln::source
