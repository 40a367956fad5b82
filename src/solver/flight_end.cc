#include <algorithm>

#include "base/log.h"
#include "solver/engine.h"
#include "solver/failure.h"

namespace kiln::solver {

void Engine::OnRunDone(const FlightPtr& flight, Result<RunOutput> output) {
  if (faults_.unfreed_slot && !output.ok()) {
    resources_.LeakSlot(flight->resources);
  } else {
    resources_.Release(flight->resources);
  }
  flight->context = nullptr;
  for (const uint64_t scope : std::exchange(flight->scopes, {})) Discard(scope, nullptr);
  if (output.ok() && output->results.size() != flight->ids.size()) {
    output = Internal("{}: run gave {} outputs, declares {}", flight->name, output->results.size(),
                      flight->ids.size());
  }
  if (output.ok()) {
    Commit(flight, std::move(*output));
  } else {
    FlightFailed(flight, output.error());
  }
}

SaveBatch Engine::BatchOf(const Flight& flight) const {
  SaveBatch batch;
  batch.keys = flight.minted;
  std::set<LinkTuple> tuples(flight.link_tuples.begin(), flight.link_tuples.end());
  for (const LinkTuple& tuple : tuples) {
    for (size_t output = 0; output < flight.ids.size(); ++output) {
      Link link{tuple, flight.ids[output].front()};
      link.tuple.output = static_cast<int>(output);
      batch.links.push_back(std::move(link));
    }
  }
  const WallTime now = clock_.Now();
  for (size_t output = 0; output < flight.ids.size(); ++output) {
    if (faults_.one_output_saved && output > 0) break;
    for (const KeyId& id : flight.ids[output]) {
      NewRecord record;
      record.key = id;
      record.result = flight.results[output];
      record.created = now;
      record.origin = {flight.name, flight.origin_ref, now - flight.started};
      record.capture = flight.capture;
      batch.records.push_back(std::move(record));
    }
  }
  batch.miss = flight.miss;
  return batch;
}

void Engine::Commit(const FlightPtr& flight, RunOutput output) {
  flight->state = FlightState::kCommitting;
  flight->results = std::move(output.results);
  flight->capture = std::move(output.capture);
  if (!flight->saved) {
    DeliverFlight(flight, {});
    return;
  }
  LocalView::Parts parts = LocalView::Split(BatchOf(*flight));
  if (parts.disk.records.empty() && parts.disk.links.empty()) {
    DeliverFlight(flight, local_.SaveMemory(parts.memory));
    return;
  }
  std::weak_ptr<Engine> weak = weak_from_this();
  TaskQueue* loop = &loop_;
  local_.disk().Save(std::move(parts.disk), [weak, loop, flight, memory = std::move(parts.memory)](
                                                Result<std::vector<RecordId>> ids) {
    loop->Post([weak, flight, memory, ids = std::move(ids)]() mutable {
      const auto engine = weak.lock();
      if (engine == nullptr) return;
      std::vector<RecordId> records = engine->local_.SaveMemory(memory);
      if (ids.ok()) {
        records.insert(records.end(), ids->begin(), ids->end());
      } else {
        LOG_WARNING("saving the result of {}: {}", flight->name, ids.error());
        flight->saved = false;
      }
      engine->DeliverFlight(flight, records);
      engine->Pump();
    });
  });
}

// Last matches that were asked before a commit to the same key digest are asked again.
void Engine::NoteCommit(const KeyDigest& digest) {
  const auto found = last_matches_.find(digest);
  if (found == last_matches_.end()) return;
  for (Edge* edge : found->second) {
    if (edge->preparation) edge->preparation->stale = true;
  }
}

void Engine::EndFlight(const FlightPtr& flight, bool failed) {
  flight->state = FlightState::kEnded;
  if (flight->registered) {
    for (const auto& ids : flight->ids) {
      for (const KeyId& id : ids) {
        const auto found = flights_.find(id);
        if (found != flights_.end() && found->second == flight.get()) flights_.erase(found);
      }
    }
  }
  if (!failed || !faults_.pending_leak) {
    for (const PendingLink& link : std::exchange(flight->pending, {})) {
      const auto children = pending_.find(link.tuple);
      const auto child = children->second.find(link.child);
      if (--child->second == 0) children->second.erase(child);
      if (children->second.empty()) pending_.erase(children);
    }
  }
  all_flights_.erase(flight->serial);
}

void Engine::DeliverFlight(const FlightPtr& flight, const std::vector<RecordId>& records) {
  NoteCommit(flight->digest);
  flight->sink->Finish(clock_.Now(), "");
  const std::vector<Edge*> members = flight->members;
  EndFlight(flight, false);
  std::vector<std::pair<SourceId, RecordId>> mine;
  for (const RecordId& record : records) mine.emplace_back(kLocalSource, record);
  for (Edge* edge : members) {
    std::vector<KeyNodePtr> keys;
    if (edge->vertex->is_root()) {
      keys = RootKeys(*edge);
    } else if (flight->saved) {
      for (const KeyId& id : flight->ids[static_cast<size_t>(edge->output)]) {
        keys.push_back(KeyNode::Local(flight->digest, edge->output, id, edge->save_only));
      }
    }
    edge->solitary = false;
    Finish(*edge, flight->results[static_cast<size_t>(edge->output)], std::move(keys), mine);
  }
}

// The leader's failure is its own; followers try themselves.
void Engine::FlightFailed(const FlightPtr& flight, const Error& error) {
  flight->sink->Finish(clock_.Now(), error.ToString());
  const std::vector<Edge*> members = flight->members;
  Edge* const leader = flight->leader;
  EndFlight(flight, true);
  for (Edge* edge : members) {
    edge->flight = nullptr;
    if (edge == leader || faults_.follower_shares_failure) {
      Fail(*edge, WithFailedVertex(error, edge->vertex->digest), true);
    } else {
      edge->phase = Phase::kNeed;
      MarkDirty(*edge);
    }
  }
}

}  // namespace kiln::solver
