#include "client/paced_display.h"

#include <sys/ioctl.h>

#include <algorithm>

#include "base/thread.h"

namespace kiln::client {
namespace {

constexpr std::chrono::milliseconds kInterval{100};
constexpr size_t kLeastWidth = 20;
constexpr size_t kLeastHeight = 4;

}  // namespace

PacedDisplay::PacedDisplay(std::FILE* out, const Clock& clock, std::unique_ptr<Screen> screen)
    : out_(out),
      clock_(clock),
      screen_(std::move(screen)),
      thread_(AwaitThread("kiln-display", [this] { Run(); })) {}

PacedDisplay::~PacedDisplay() { Finish(); }

void PacedDisplay::OnVertex(const progress::Vertex& vertex) {
  MutexLock lock(mutex_);
  screen_->OnVertex(vertex, clock_.Now());
}

void PacedDisplay::OnStatus(const progress::VertexStatus& status) {
  MutexLock lock(mutex_);
  screen_->OnStatus(status, clock_.Now());
}

void PacedDisplay::OnLog(const progress::VertexLog& log) {
  MutexLock lock(mutex_);
  screen_->OnLog(log, clock_.Now());
}

void PacedDisplay::OnWarning(const progress::VertexWarning& warning) {
  MutexLock lock(mutex_);
  screen_->OnWarning(warning, clock_.Now());
}

ScreenSize PacedDisplay::Size() const {
  winsize size{};
  ScreenSize found;
  if (ioctl(fileno(out_), TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return found;
  found.width = std::max<size_t>(size.ws_col, kLeastWidth);
  found.height = std::max<size_t>(size.ws_row, kLeastHeight);
  return found;
}

void PacedDisplay::Write(const std::string& text) {
  if (text.empty()) return;
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

void PacedDisplay::Run() {
  MutexLock lock(mutex_);
  while (!finished_) {
    const std::string text = screen_->Draw(clock_.Now(), Size());
    // Whoever reads may be slow: events come in meanwhile.
    lock.Unlock();
    Write(text);
    lock.Lock();
    changed_.WaitFor(lock, kInterval, [this]() REQUIRES(mutex_) { return finished_; });
  }
}

void PacedDisplay::Finish() {
  {
    MutexLock lock(mutex_);
    if (finished_) return;
    finished_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
  MutexLock lock(mutex_);
  Write(screen_->Finish(clock_.Now(), Size()));
}

}  // namespace kiln::client
