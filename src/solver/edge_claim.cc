#include <algorithm>
#include <tuple>

#include "base/ids.h"
#include "base/log.h"
#include "solver/engine.h"

namespace kiln::solver {

KeyId Engine::MintId(bool memory) {
  const std::string unique = options_.new_id ? options_.new_id() : NewId();
  return (memory ? std::string(kMemoryPrefix) : std::string("k:")) + unique;
}

std::vector<std::vector<KeyAlternative>> Engine::Snapshot(const Edge& edge) const {
  std::vector<std::vector<KeyAlternative>> alternatives(edge.inputs.size());
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    for (Usable& usable : Alternatives(edge, i)) {
      alternatives[i].push_back({std::move(usable.node), std::move(usable.selector)});
    }
  }
  return alternatives;
}

KeyNodePtr Engine::KeyForChild(const Edge& edge, SourceId source, const KeyId& child) const {
  for (const KeyNodePtr& key : edge.keys) {
    const KeyId* id = key->IdIn(source);
    if (id != nullptr && *id == child) return key;
  }
  auto node = std::make_shared<KeyNode>();
  node->digest = edge.vertex->parts.front().digest;
  node->output = edge.output;
  node->ids.emplace_back(source, child);
  if (source != kLocalSource) node->inputs = Snapshot(edge);
  return node;
}

// The child asserted last, then the newest record.
std::optional<Engine::Candidate> Engine::BestCandidate(Edge& edge, SourceMatch& source) {
  ChildMap children;
  if (edge.vertex->is_root()) {
    for (const KeyNodePtr& key : RootKeys(edge)) {
      if (const KeyId* id = key->IdIn(source.id)) children[*id] = 0;
    }
  } else {
    children = CommonChildren(edge, source);
  }
  std::optional<Candidate> best;
  std::tuple<uint64_t, WallTime, RecordId> best_rank;
  std::vector<std::pair<uint64_t, RecordInfo>> rivals;
  for (const auto& [child, seq] : children) {
    const auto info = source.info.find(child);
    if (info == source.info.end()) continue;
    for (const RecordInfo& record : info->second.records) {
      if (edge.barred.contains({source.id, record.id})) continue;
      if (probe_ != nullptr) rivals.emplace_back(seq, record);
      std::tuple rank(faults_.newest_ignores_seq ? ~seq : seq, record.created, record.id);
      if (best && rank <= best_rank) continue;
      best_rank = std::move(rank);
      best = Candidate{source.id, source.importer, record, child, {}, {}, seq};
    }
  }
  if (best) best->rivals = std::move(rivals);
  return best;
}

bool Engine::TryClaim(Edge& edge) {
  for (SourceMatch& source : edge.sources) {
    // Choose among all of a source's candidates, and the local ones before any importer's.
    if (source.open > 0 && source.importer == nullptr) return false;
    if (source.open > 0) continue;
    auto candidate = BestCandidate(edge, source);
    if (!candidate) continue;
    StartClaim(edge, std::move(*candidate));
    return true;
  }
  return false;
}

void Engine::StartClaim(Edge& edge, Candidate candidate) {
  candidate.alternatives = Snapshot(edge);
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    const KeyNodePtr* content = ContentKey(edge, i);
    candidate.content.push_back(content != nullptr ? *(*content)->IdIn(kLocalSource) : KeyId());
  }
  uint64_t newest = 0;
  for (const auto& [child, seq] : CommonChildren(edge, edge.sources.front())) {
    if (!candidate.local_child.empty() && seq <= newest) continue;
    newest = seq;
    candidate.local_child = child;
  }
  edge.phase = Phase::kClaim;
  DropPreparation(edge);
  DropInputAsks(edge);
  edge.claim = NewTicket(edge.vertex, false);
  progress::Activity activity = ActivityFor(*edge.claim);
  const ImporterPtr importer = candidate.importer;
  RecordInfo record = candidate.record;
  auto done = Bind<Claimed>(edge.claim,
                            [this, &edge, candidate = std::move(candidate)](Result<Claimed> got) {
                              OnClaim(edge, candidate, std::move(got));
                            });
  if (importer == nullptr) {
    local_.Claim(std::move(record), std::move(activity), std::move(done));
  } else {
    importer->source->Claim(std::move(record), std::move(activity), std::move(done));
  }
}

void Engine::OnClaim(Edge& edge, const Candidate& candidate, Result<Claimed> claimed) {
  EndTicket(edge.claim, "");
  const bool gone = claimed.ok() && claimed->gone && !faults_.claim_ignores_gone;
  if (!claimed.ok() || claimed->unavailable || gone) {
    edge.barred.insert({candidate.source, candidate.record.id});
    if (gone && candidate.importer == nullptr) local_.Drop(candidate.record.id);
    edge.phase = Phase::kMatch;
    MarkDirty(edge);
    return;
  }
  if (probe_ != nullptr) {
    probe_->OnHit({edge.vertex->id, edge.output, candidate.record, candidate.source, edge.serial,
                   candidate.seq, candidate.rivals, candidate.content});
  }
  ShowCached(*edge.vertex, true);
  if (candidate.importer == nullptr) {
    FinishLocalHit(edge, candidate, std::move(claimed->result));
  } else {
    Import(edge, candidate, std::move(*claimed));
  }
}

// Every known alternative of every input, to the child.
std::vector<Link> Engine::LinksTo(const Edge& edge, const Candidate& candidate,
                                  const KeyId& child) const {
  std::vector<Link> links;
  const KeyDigest& digest = edge.vertex->parts.front().digest;
  for (size_t i = 0; i < candidate.alternatives.size(); ++i) {
    for (const KeyAlternative& alternative : candidate.alternatives[i]) {
      const KeyId* parent = alternative.node->IdIn(kLocalSource);
      if (parent == nullptr) continue;
      links.push_back(
          {{*parent, static_cast<int>(i), digest, edge.output, alternative.selector}, child});
    }
  }
  return links;
}

void Engine::FinishLocalHit(Edge& edge, const Candidate& candidate, StoredResultPtr result) {
  std::vector<KeyNodePtr> keys;
  if (edge.vertex->is_root()) {
    keys = RootKeys(edge);
  } else {
    std::weak_ptr<Engine> weak = weak_from_this();
    local_.Assert(LinksTo(edge, candidate, candidate.child),
                  [weak, loop = &loop_, digest = edge.vertex->parts.front().digest](const Status&) {
                    loop->Post([weak, digest] {
                      if (const auto engine = weak.lock()) engine->NoteCommit(digest);
                    });
                  });
    keys.push_back(KeyForChild(edge, kLocalSource, candidate.child));
  }
  Finish(edge, std::move(result), std::move(keys), {{kLocalSource, candidate.record.id}});
}

// Gives the node, and what of its inputs was seen in importers only, ids in the local source.
void Engine::EnsureLocalIds(const KeyNodePtr& node, SaveBatch& batch) {
  std::vector<KeyNode*> found;
  std::vector<KeyNode*> todo{node.get()};
  while (!todo.empty()) {
    KeyNode* next = todo.back();
    todo.pop_back();
    if (next->universal || next->IdIn(kLocalSource) != nullptr) continue;
    batch.keys.push_back(MintId(false));
    next->SetId(kLocalSource, batch.keys.back());
    found.push_back(next);
    for (const auto& alternatives : next->inputs) {
      for (const KeyAlternative& alternative : alternatives) todo.push_back(alternative.node.get());
    }
  }
  for (KeyNode* child : found) {
    for (size_t i = 0; i < child->inputs.size(); ++i) {
      for (const KeyAlternative& alternative : child->inputs[i]) {
        batch.links.push_back({{*alternative.node->IdIn(kLocalSource), static_cast<int>(i),
                                child->digest, child->output, alternative.selector},
                               *child->IdIn(kLocalSource)});
      }
    }
  }
}

// The local id that an imported record is saved under, with the links that lead to it.
KeyId Engine::ImportedId(Edge& edge, const Candidate& candidate, SaveBatch& batch) {
  const KeyNodePtr node = KeyForChild(edge, candidate.source, candidate.child);
  for (const auto& alternatives : candidate.alternatives) {
    for (const KeyAlternative& alternative : alternatives) {
      EnsureLocalIds(alternative.node, batch);
    }
  }
  if (node->IdIn(kLocalSource) == nullptr) {
    KeyId id = candidate.local_child;
    if (id.empty()) {
      id = MintId(false);
      batch.keys.push_back(id);
    }
    node->SetId(kLocalSource, id);
  }
  const KeyId id = *node->IdIn(kLocalSource);
  for (Link& link : LinksTo(edge, candidate, id)) batch.links.push_back(std::move(link));
  return id;
}

void Engine::Import(Edge& edge, const Candidate& candidate, Claimed claimed) {
  edge.phase = Phase::kCommit;
  SaveBatch batch;
  std::vector<KeyNodePtr> keys;
  if (edge.vertex->is_root()) {
    keys = RootKeys(edge);
  } else {
    ImportedId(edge, candidate, batch);
    keys.push_back(KeyForChild(edge, candidate.source, candidate.child));
  }
  for (const KeyNodePtr& key : keys) {
    batch.records.push_back({*key->IdIn(kLocalSource), claimed.result, candidate.record.created,
                             candidate.record.origin, claimed.capture,
                             candidate.importer->source->name()});
  }
  LocalView::Parts parts = LocalView::Split(std::move(batch));
  const std::pair<SourceId, RecordId> imported(candidate.source, candidate.record.id);
  edge.claim = NewTicket(edge.vertex, false);
  auto done = Bind<std::vector<RecordId>>(
      edge.claim, [this, &edge, keys, imported, memory = std::move(parts.memory),
                   result = std::move(claimed.result)](Result<std::vector<RecordId>> ids) {
        EndTicket(edge.claim, "");
        local_.SaveMemory(memory);
        std::vector<std::pair<SourceId, RecordId>> records{imported};
        if (ids.ok()) {
          for (const RecordId& id : *ids) records.emplace_back(kLocalSource, id);
        } else {
          LOG_WARNING("saving what was imported for {}: {}", edge.vertex->name, ids.error());
        }
        NoteCommit(edge.vertex->parts.front().digest);
        Finish(edge, result, keys, std::move(records));
      });
  local_.disk().Save(std::move(parts.disk), std::move(done));
}

}  // namespace kiln::solver
