#include "solver/fan_out.h"

#include <algorithm>

#include "solver/fault_plan.h"

namespace kiln::solver {
namespace {

// More than that is searched through for too long at each event.
constexpr size_t kMostKept = 1000;

// What each takes in memory, near enough: itself and what it points to.
size_t MemoryOf(const progress::VertexLog& log) { return sizeof log + log.data.size(); }

size_t MemoryOf(const progress::Vertex& vertex) {
  size_t bytes = sizeof vertex + vertex.inputs.size() * sizeof(Digest) + vertex.name.size() +
                 vertex.error.size();
  if (vertex.group) bytes += vertex.group->id.size() + vertex.group->name.size();
  return bytes;
}

size_t MemoryOf(const progress::VertexStatus& status) {
  return sizeof status + status.id.size() + status.name.size();
}

size_t MemoryOf(const progress::VertexWarning& warning) {
  size_t bytes = sizeof warning + warning.short_text.size() + warning.url.size() +
                 warning.ranges.size() * sizeof(progress::Range);
  for (const std::string& line : warning.detail) bytes += sizeof(std::string) + line.size();
  if (!warning.info) return bytes;
  const progress::SourceInfo& info = *warning.info;
  return bytes + info.filename.size() + info.data.size() + info.language.size() +
         info.definition.size();
}

}  // namespace

void FanOut::Set(std::vector<Target> targets, std::vector<std::string> sessions, WallTime now) {
  const MutexLock lock(mutex_);
  std::swap(targets_, targets);  // `targets` are now the former ones
  sessions_ = std::move(sessions);
  if (finished_ || !started_) return;
  for (const Target& former : targets) {
    if (std::find(targets_.begin(), targets_.end(), former) != targets_.end()) continue;
    former.events->Complete(former.vertex, *started_, now, "context canceled");
    left_[{former.job, former.vertex}] = {logs_dropped_ + logs_.size(), warnings_.size()};
  }
  for (const Target& target : targets_) {
    if (std::find(targets.begin(), targets.end(), target) != targets.end()) continue;
    if (!faults_.late_member_untold) target.events->Start(target.vertex, *started_);
    const auto seen = left_.find({target.job, target.vertex});
    Replay(target, seen == left_.end() ? Seen{} : seen->second);
  }
}

void FanOut::Start(WallTime now) {
  const MutexLock lock(mutex_);
  started_ = now;
  for (const Target& target : targets_) target.events->Start(target.vertex, now);
}

void FanOut::Show(WallTime now) {
  {
    const MutexLock lock(mutex_);
    if (started_) return;
  }
  Start(now);
}

void FanOut::Finish(WallTime now, const std::string& error, bool cached) {
  const MutexLock lock(mutex_);
  if (finished_) return;
  finished_ = true;
  if (!started_) return;
  for (const Target& target : targets_) {
    target.events->Complete(target.vertex, *started_, now, error, cached);
  }
}

std::vector<std::string> FanOut::SessionIds() const {
  const MutexLock lock(mutex_);
  return sessions_;
}

void FanOut::Replay(const Target& target, Seen seen) {
  progress::Sink& sink = target.events->sink();
  for (const progress::Vertex& vertex : vertices_) sink.OnVertex(vertex);
  auto send = [&](auto event, auto method) {
    if (event.vertex.empty()) event.vertex = target.vertex;
    (sink.*method)(event);
  };
  for (const auto& status : statuses_) send(status, &progress::Sink::OnStatus);
  if (logs_dropped_ > seen.logs) {
    progress::VertexLog note;
    note.timestamp = logs_.empty() ? *started_ : logs_.front().timestamp;
    note.stream = progress::Stream::kStderr;
    note.data = "[earlier output of this step is not shown: it began in another build]\n";
    send(note, &progress::Sink::OnLog);
  }
  const uint64_t skip = seen.logs > logs_dropped_ ? seen.logs - logs_dropped_ : 0;
  for (size_t i = skip; i < logs_.size(); ++i) send(logs_[i], &progress::Sink::OnLog);
  for (size_t i = seen.warnings; i < warnings_.size(); ++i) {
    send(warnings_[i], &progress::Sink::OnWarning);
  }
}

template <typename Event>
void FanOut::Forward(const Event& event, void (progress::Sink::*method)(const Event&)) {
  if (!event.vertex.empty()) {
    // A vertex of the work's own: the same for all, sent once to each build.
    std::set<uint64_t> told;
    for (const Target& target : targets_) {
      if (told.insert(target.job).second) (target.events->sink().*method)(event);
    }
    return;
  }
  Event mine = event;
  for (const Target& target : targets_) {
    mine.vertex = target.vertex;
    (target.events->sink().*method)(mine);
  }
}

// What `same` finds is replaced, or goes where there is no room for the newer one: what is old is
// not told as news.
template <typename Event, typename IsSame>
void FanOut::Keep(std::vector<Event>* kept, const Event& event, const IsSame& same) {
  const size_t bytes = MemoryOf(event);
  const auto known = std::find_if(kept->begin(), kept->end(), same);
  if (known != kept->end()) kept_bytes_ -= MemoryOf(*known);
  const bool fits = kept_bytes_ + bytes <= backlog_bytes_;
  if (fits && known != kept->end()) {
    *known = event;
  } else if (known != kept->end()) {
    kept->erase(known);
  } else if (fits && kept->size() < kMostKept) {
    kept->push_back(event);
  } else {
    return;
  }
  if (fits) kept_bytes_ += bytes;
}

void FanOut::OnVertex(const progress::Vertex& vertex) {
  const MutexLock lock(mutex_);
  if (finished_) return;
  Keep(&vertices_, vertex, [&](const progress::Vertex& other) {
    return other.digest == vertex.digest && other.started == vertex.started;
  });
  std::set<uint64_t> told;
  for (const Target& target : targets_) {
    if (told.insert(target.job).second) target.events->sink().OnVertex(vertex);
  }
}

void FanOut::OnStatus(const progress::VertexStatus& status) {
  const MutexLock lock(mutex_);
  if (finished_) return;
  Keep(&statuses_, status, [&](const progress::VertexStatus& other) {
    return other.vertex == status.vertex && other.id == status.id;
  });
  Forward(status, &progress::Sink::OnStatus);
}

void FanOut::AddToBacklog(const progress::VertexLog& log) {
  if (backlog_bytes_ == 0) return;
  logs_.push_back(log);
  log_bytes_ += MemoryOf(log);
  while (log_bytes_ > backlog_bytes_) {
    log_bytes_ -= MemoryOf(logs_.front());
    logs_.pop_front();
    ++logs_dropped_;
  }
}

void FanOut::OnLog(const progress::VertexLog& log) {
  const MutexLock lock(mutex_);
  if (finished_) return;
  AddToBacklog(log);
  Forward(log, &progress::Sink::OnLog);
}

void FanOut::OnShownLog(const progress::VertexLog& log) {
  const MutexLock lock(mutex_);
  if (finished_) return;
  AddToBacklog(log);
  progress::VertexLog mine = log;
  for (const Target& target : targets_) {
    if (log.vertex.empty()) mine.vertex = target.vertex;
    progress::SendShownLog(target.events->sink(), mine);
  }
}

// May block, so without the lock: the loop takes it too.
void FanOut::OnKeptLog(const progress::VertexLog& log) {
  std::vector<Target> targets;
  {
    const MutexLock lock(mutex_);
    if (finished_) return;
    targets = targets_;
  }
  progress::VertexLog mine = log;
  for (const Target& target : targets) {
    if (log.vertex.empty()) mine.vertex = target.vertex;
    progress::SendKeptLog(target.events->sink(), mine);
  }
}

void FanOut::OnWarning(const progress::VertexWarning& warning) {
  const MutexLock lock(mutex_);
  if (finished_) return;
  Keep(&warnings_, warning, [](const progress::VertexWarning&) { return false; });
  Forward(warning, &progress::Sink::OnWarning);
}

}  // namespace kiln::solver
