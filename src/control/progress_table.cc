#include "control/progress_table.h"

#include <moby/buildkit/v1/control.pb.h>

#include <algorithm>

#include "control/progress_proto.h"

namespace kiln::control {
namespace {

constexpr size_t kBatchBytes = 1 << 20;
constexpr size_t kMaxKeptWaiting = 1 << 20;

}  // namespace

void ProgressTable::TouchLocked(EntityIter entity) {
  entity->seq = ++seq_;
  entities_.splice(entities_.end(), entities_, entity);
}

void ProgressTable::PutVertexLocked(const progress::Vertex& vertex) {
  VertexState& state = vertices_[vertex.digest];
  if (vertex.started && !state.runs.contains(vertex.started)) CompleteInputsLocked(vertex);
  progress::Vertex put = vertex;
  if (put.completed && !put.started) put.started = put.completed;
  if (put.completed) CompleteStatusesLocked(state, *put.completed);
  state.announced = true;
  state.current = put.started;
  state.ever_cached = state.ever_cached || put.cached;
  auto [run, added] = state.runs.try_emplace(put.started);
  if (added) run->second = entities_.insert(entities_.end(), Entity{});
  run->second->vertex = std::move(put);
  TouchLocked(run->second);
}

void ProgressTable::CompleteInputsLocked(const progress::Vertex& vertex) {
  for (const Digest& input : vertex.inputs) {
    const auto found = vertices_.find(input);
    // Announced only: it never ran, so its dependent started from a cached result.
    if (found == vertices_.end() || !found->second.announced || found->second.current) continue;
    const auto run = found->second.runs.find(std::nullopt);
    if (run == found->second.runs.end()) continue;
    progress::Vertex cached = *run->second->vertex;
    cached.cached = true;
    cached.started = cached.completed = vertex.started;
    PutVertexLocked(cached);
  }
}

void ProgressTable::CompleteStatusesLocked(VertexState& state, WallTime at) {
  for (const auto& [id, entity] : state.statuses) {
    if (entity->status->completed) continue;
    entity->status->completed = at;
    entity->status->timestamp = at;
    TouchLocked(entity);
  }
}

void ProgressTable::PutStatusLocked(progress::VertexStatus status) {
  const auto found = vertices_.find(status.vertex);
  if (found == vertices_.end()) return;  // clients drop it as well
  if (!status.started) status.started = status.timestamp;
  auto [place, added] = found->second.statuses.try_emplace(status.id);
  if (added) place->second = entities_.insert(entities_.end(), Entity{});
  place->second->status = std::move(status);
  TouchLocked(place->second);
}

std::vector<std::function<void()>> ProgressTable::TakeWakersLocked() {
  std::vector<std::function<void()>> wakers;
  std::erase_if(readers_, [&](const std::weak_ptr<Reader>& weak) {
    const auto reader = weak.lock();
    if (reader && reader->waiting_) {
      reader->waiting_ = false;
      wakers.push_back(reader->wake_);
    }
    return !reader;
  });
  return wakers;
}

void ProgressTable::Wake(std::unique_lock<std::mutex> lock) {
  const auto wakers = TakeWakersLocked();
  lock.unlock();
  for (const auto& wake : wakers) wake();
}

void ProgressTable::OnVertex(const progress::Vertex& vertex) {
  std::unique_lock lock(mutex_);
  if (closed_) return;
  PutVertexLocked(vertex);
  Wake(std::move(lock));
}

void ProgressTable::OnStatus(const progress::VertexStatus& status) {
  std::unique_lock lock(mutex_);
  if (closed_) return;
  PutStatusLocked(status);
  Wake(std::move(lock));
}

void ProgressTable::OnLog(const progress::VertexLog& log) {
  std::unique_lock lock(mutex_);
  if (closed_ || !vertices_.contains(log.vertex)) return;
  events_.push_back({++seq_, For::kAll, log, std::nullopt});
  Wake(std::move(lock));
}

void ProgressTable::OnShownLog(const progress::VertexLog& log) {
  std::unique_lock lock(mutex_);
  if (closed_ || !vertices_.contains(log.vertex)) return;
  events_.push_back({++seq_, For::kOthers, log, std::nullopt});
  Wake(std::move(lock));
}

void ProgressTable::OnKeptLog(const progress::VertexLog& log) {
  std::unique_lock lock(mutex_);
  if (closed_ || !flush_ || !vertices_.contains(log.vertex)) return;
  events_.push_back({++seq_, For::kKeeper, log, std::nullopt});
  kept_waiting_ += log.data.size();
  const bool much = kept_waiting_ > kMaxKeptWaiting;
  const auto flush = flush_;
  Wake(std::move(lock));
  if (much) flush();
}

void ProgressTable::OnWarning(const progress::VertexWarning& warning) {
  std::unique_lock lock(mutex_);
  if (closed_) return;
  ++warnings_;
  events_.push_back({++seq_, For::kAll, std::nullopt, warning});
  Wake(std::move(lock));
}

void ProgressTable::Close() {
  std::unique_lock lock(mutex_);
  if (closed_) return;
  const WallTime now = clock_.Now();
  for (auto& [digest, state] : vertices_) {
    if (!state.current) continue;
    progress::Vertex vertex = *state.runs.at(state.current)->vertex;
    if (vertex.completed) continue;
    vertex.completed = now;
    if (!state.ever_cached) vertex.error = "context canceled";
    PutVertexLocked(vertex);
  }
  closed_ = true;
  Wake(std::move(lock));
}

bool ProgressTable::closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

ProgressTable::Counts ProgressTable::counts() const {
  std::lock_guard lock(mutex_);
  Counts counts;
  counts.total = static_cast<int>(vertices_.size());
  counts.warnings = warnings_;
  for (const auto& [digest, state] : vertices_) {
    if (state.ever_cached) ++counts.cached;
    if (state.current && state.runs.at(state.current)->vertex->completed) ++counts.completed;
  }
  return counts;
}

std::shared_ptr<ProgressTable::Reader> ProgressTable::NewReader(std::function<void()> wake) {
  auto reader = std::make_shared<Reader>(shared_from_this(), std::move(wake), false);
  std::lock_guard lock(mutex_);
  readers_.push_back(reader);
  return reader;
}

std::shared_ptr<ProgressTable::Reader> ProgressTable::NewKeeper(std::function<void()> wake,
                                                                std::function<void()> flush) {
  auto reader = std::make_shared<Reader>(shared_from_this(), std::move(wake), true);
  std::lock_guard lock(mutex_);
  flush_ = std::move(flush);
  readers_.push_back(reader);
  return reader;
}

size_t ProgressTable::Reader::AddEvent(Event& event, moby::buildkit::v1::StatusResponse* batch) {
  if (event.who == (keeper_ ? For::kOthers : For::kKeeper)) return 0;
  size_t bytes = 0;
  if (event.log) bytes += AddLog(*event.log, batch);
  if (event.warning) bytes += AddWarning(*event.warning, batch);
  if (event.who == For::kKeeper) {
    // Nobody else reads it.
    table_->kept_waiting_ -= event.log->data.size();
    event.log.reset();
  }
  return bytes;
}

ProgressTable::Reader::State ProgressTable::Reader::Next(
    moby::buildkit::v1::StatusResponse* batch) {
  batch->Clear();
  std::lock_guard lock(table_->mutex_);
  auto& entities = table_->entities_;
  // The oldest entity that changed since: entities are in the order of their last change.
  auto entity = entities.end();
  while (entity != entities.begin() && std::prev(entity)->seq > cursor_) --entity;
  size_t bytes = 0;
  // Merged in order of change, so that a vertex' last lines never come after its completion.
  while (bytes < kBatchBytes) {
    const bool event_left = next_event_ < table_->events_.size();
    const bool entity_left = entity != entities.end();
    if (!event_left && !entity_left) break;
    if (event_left && (!entity_left || table_->events_[next_event_].seq < entity->seq)) {
      Event& event = table_->events_[next_event_++];
      bytes += AddEvent(event, batch);
      cursor_ = std::max(cursor_, event.seq);
      continue;
    }
    if (entity->vertex) bytes += AddVertex(*entity->vertex, batch);
    if (entity->status) bytes += AddStatus(*entity->status, batch);
    cursor_ = entity->seq;
    ++entity;
  }
  if (bytes > 0) {
    SortBatch(batch);
    return State::kBatch;
  }
  waiting_ = !table_->closed_;
  return table_->closed_ ? State::kEnd : State::kNothingYet;
}

}  // namespace kiln::control
