#include "control/progress_table.h"

#include <moby/buildkit/v1/control.pb.h>

#include <algorithm>
#include <utility>

#include "control/progress_proto.h"

namespace kiln::control {
namespace {

constexpr size_t kBatchBytes = 1 << 20;
constexpr size_t kMaxKeptBytes = 1 << 20;

void Call(const std::vector<std::function<void()>>& wakers) {
  for (const auto& wake : wakers) wake();
}

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
  ++state.changes;
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

void ProgressTable::ShowLocked(const progress::VertexLog& log, LogChunk::For who) {
  const auto vertex = vertices_.find(log.vertex);
  if (vertex == vertices_.end() || log.data.empty()) return;
  shown_.Add(LogChunk(++seq_, log, vertex->second.changes, who));
  if (who == LogChunk::For::kAll) vertex->second.shown = seq_;
  if (shown_.due()) JoinShownLocked();
}

// What the keeper has not read stays as it is: it gets pieces of two queues, in order.
void ProgressTable::JoinShownLocked() {
  uint64_t limit = seq_;
  std::vector<uint64_t> cursors;
  for (const Place& place : places_) {
    if (place.keeper) {
      limit = place.cursor;
    } else {
      cursors.push_back(place.cursor);
    }
  }
  shown_.Join(limit, cursors);
}

void ProgressTable::KeepLocked(const progress::VertexLog& log) {
  const auto vertex = vertices_.find(log.vertex);
  if (vertex == vertices_.end() || log.data.empty()) return;
  VertexState& state = vertex->second;
  LogChunk chunk(++seq_, log, state.changes, LogChunk::For::kAll);
  kept_bytes_ += chunk.bytes();
  LogChunk* last = state.kept_last;
  if (last != nullptr && last->first > state.shown && last->Takes(chunk)) {
    last->Join(chunk);
  } else {
    state.kept_last = &kept_.emplace_back(std::move(chunk));
  }
}

ProgressTable::Wakers ProgressTable::TakeWakersLocked() {
  Wakers wakers;
  for (Place& place : places_) {
    if (std::exchange(place.waiting, false)) wakers.push_back(place.wake);
  }
  return wakers;
}

void ProgressTable::OnVertex(const progress::Vertex& vertex) {
  Wakers wakers;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    PutVertexLocked(vertex);
    wakers = TakeWakersLocked();
  }
  Call(wakers);
}

void ProgressTable::OnStatus(const progress::VertexStatus& status) {
  Wakers wakers;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    PutStatusLocked(status);
    wakers = TakeWakersLocked();
  }
  Call(wakers);
}

void ProgressTable::OnLog(const progress::VertexLog& log) {
  Wakers wakers;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    ShowLocked(log, LogChunk::For::kAll);
    wakers = TakeWakersLocked();
  }
  Call(wakers);
}

void ProgressTable::OnShownLog(const progress::VertexLog& log) {
  Wakers wakers;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    ShowLocked(log, LogChunk::For::kOthers);
    wakers = TakeWakersLocked();
  }
  Call(wakers);
}

void ProgressTable::OnKeptLog(const progress::VertexLog& log) {
  Wakers wakers;
  std::function<void()> flush;
  {
    MutexLock lock(mutex_);
    if (closed_ || !flush_) return;
    KeepLocked(log);
    if (kept_bytes_ > kMaxKeptBytes) flush = flush_;
    // Only the keeper has something to read.
    for (Place& place : places_) {
      if (place.keeper && std::exchange(place.waiting, false)) wakers.push_back(place.wake);
    }
  }
  Call(wakers);
  if (flush) flush();
}

void ProgressTable::OnWarning(const progress::VertexWarning& warning) {
  Wakers wakers;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    warnings_.push_back({++seq_, warning});
    wakers = TakeWakersLocked();
  }
  Call(wakers);
}

void ProgressTable::Close() {
  Wakers wakers;
  {
    MutexLock lock(mutex_);
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
    wakers = TakeWakersLocked();
  }
  Call(wakers);
}

bool ProgressTable::closed() const {
  MutexLock lock(mutex_);
  return closed_;
}

ProgressTable::Counts ProgressTable::counts() const {
  MutexLock lock(mutex_);
  Counts counts;
  counts.total = static_cast<int>(vertices_.size());
  counts.warnings = static_cast<int>(warnings_.size());
  for (const auto& [digest, state] : vertices_) {
    if (state.ever_cached) ++counts.cached;
    if (state.current && state.runs.at(state.current)->vertex->completed) ++counts.completed;
  }
  return counts;
}

std::shared_ptr<ProgressTable::Reader> ProgressTable::Add(Place place) {
  MutexLock lock(mutex_);
  const PlaceIter at = places_.insert(places_.end(), std::move(place));
  return std::shared_ptr<Reader>(new Reader(shared_from_this(), at));
}

void ProgressTable::Remove(PlaceIter place) {
  std::list<Place> removed;  // its waker goes without the lock
  MutexLock lock(mutex_);
  removed.splice(removed.end(), places_, place);
}

std::shared_ptr<ProgressTable::Reader> ProgressTable::NewReader(std::function<void()> wake) {
  return Add({.wake = std::move(wake)});
}

std::shared_ptr<ProgressTable::Reader> ProgressTable::NewKeeper(std::function<void()> wake,
                                                                std::function<void()> flush) {
  {
    MutexLock lock(mutex_);
    flush_ = std::move(flush);
  }
  return Add({.wake = std::move(wake), .keeper = true});
}

void ProgressTable::StopKeeping() {
  MutexLock lock(mutex_);
  flush_ = nullptr;
  for (auto& [digest, state] : vertices_) state.kept_last = nullptr;
  kept_.clear();
  kept_bytes_ = 0;
}

// Nobody else reads it.
size_t ProgressTable::TakeKeptLocked(moby::buildkit::v1::StatusResponse* batch) {
  const LogChunk chunk = std::move(kept_.front());
  LogChunk*& last = vertices_[chunk.vertex].kept_last;
  if (last == &kept_.front()) last = nullptr;
  kept_.pop_front();
  kept_bytes_ -= chunk.bytes();
  return AddChunk(chunk, batch);
}

// Merged in order of change, so that a vertex' last lines never come after its completion.
size_t ProgressTable::FillLocked(Place& place, moby::buildkit::v1::StatusResponse* batch) {
  // The oldest entity that changed since: entities are in the order of their last change.
  auto entity = entities_.end();
  while (entity != entities_.begin() && std::prev(entity)->seq > place.cursor) --entity;
  size_t shown = shown_.After(place.cursor);
  auto warning = std::upper_bound(warnings_.begin(), warnings_.end(), place.cursor,
                                  [](uint64_t seq, const Warning& one) { return seq < one.seq; });
  size_t bytes = 0;
  while (bytes < kBatchBytes) {
    const uint64_t entity_seq = entity != entities_.end() ? entity->seq : UINT64_MAX;
    const uint64_t shown_seq = shown < shown_.size() ? shown_[shown].last : UINT64_MAX;
    const uint64_t warning_seq = warning != warnings_.end() ? warning->seq : UINT64_MAX;
    const uint64_t kept_seq = place.keeper && !kept_.empty() ? kept_.front().first : UINT64_MAX;
    const uint64_t next = std::min({entity_seq, shown_seq, warning_seq, kept_seq});
    if (next == UINT64_MAX) break;
    if (next == shown_seq) {
      const LogChunk& chunk = shown_[shown++];
      if (!place.keeper || chunk.who == LogChunk::For::kAll) bytes += AddChunk(chunk, batch);
    } else if (next == kept_seq) {
      bytes += TakeKeptLocked(batch);
    } else if (next == warning_seq) {
      bytes += AddWarning((warning++)->warning, batch);
    } else {
      if (entity->vertex) bytes += AddVertex(*entity->vertex, batch);
      if (entity->status) bytes += AddStatus(*entity->status, batch);
      ++entity;
    }
    place.cursor = std::max(place.cursor, next);
  }
  return bytes;
}

ProgressTable::State ProgressTable::Next(Place& place, moby::buildkit::v1::StatusResponse* batch) {
  batch->Clear();
  MutexLock lock(mutex_);
  if (FillLocked(place, batch) > 0) {
    SortBatch(batch);
    return State::kBatch;
  }
  place.waiting = !closed_;
  return closed_ ? State::kEnd : State::kNothingYet;
}

}  // namespace kiln::control
