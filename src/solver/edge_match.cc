#include <algorithm>

#include "solver/engine.h"

namespace kiln::solver {

void KeepCommon(ChildMap& common, const ChildMap& children) {
  for (auto entry = common.begin(); entry != common.end();) {
    const auto other = children.find(entry->first);
    if (other == children.end()) {
      entry = common.erase(entry);
    } else {
      entry->second = std::min(entry->second, other->second);
      ++entry;
    }
  }
}

// The keys under which an input may be matched. A content digest that is known decides: children of
// the definition keys may have been made from other content.
std::vector<Engine::Usable> Engine::Alternatives(const Edge& edge, size_t index) const {
  std::vector<Usable> usable;
  const KeyNodePtr* content = ContentKey(edge, index);
  const std::string& selector = edge.vertex->parts.front().inputs[index].selector;
  for (const KeyNodePtr& key : edge.inputs[index].edge->keys) {
    const bool lookup = !key->save_only && (content == nullptr || faults_.digest_not_used);
    usable.push_back({key, faults_.key_without_selector ? "" : selector, lookup});
  }
  if (content != nullptr) usable.push_back({*content, "", true});
  return usable;
}

std::vector<KeyNodePtr> Engine::RootKeys(const Edge& edge) const {
  std::vector<KeyNodePtr> keys;
  for (const KeyMapPart& part : edge.vertex->parts) {
    auto node = KeyNode::Root(part.digest, edge.output, edge.vertex->ignore_cache);
    const auto same = std::find_if(edge.keys.begin(), edge.keys.end(), [&](const KeyNodePtr& key) {
      return key->universal && key->ids == node->ids;
    });
    keys.push_back(same != edge.keys.end() ? *same : node);
  }
  return keys;
}

// Does the key rest, for some input, on ignore-cache keys alone?
bool Engine::Tainted(const Edge& edge) const {
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    if (ContentKey(edge, i) != nullptr) continue;
    const auto& keys = edge.inputs[i].edge->keys;
    if (std::all_of(keys.begin(), keys.end(), [](const auto& key) { return key->save_only; })) {
      return true;
    }
  }
  return false;
}

// Takes up sources that owners brought since, and drops those that left.
void Engine::RefreshSources(Edge& edge) {
  if (edge.sources_version == importers_version_) return;
  edge.sources_version = importers_version_;
  if (edge.lookups == nullptr) edge.lookups = NewTicket(edge.vertex, false);
  const std::vector<ImporterPtr> importers = ImportersOf(*edge.vertex);
  std::vector<SourceMatch> sources;
  auto take = [&](SourceId id, const ImporterPtr& importer) {
    for (SourceMatch& source : edge.sources) {
      if (source.id == id) return sources.push_back(std::move(source));
    }
    sources.push_back({id, importer});
  };
  take(kLocalSource, nullptr);
  for (const ImporterPtr& importer : importers) take(importer->id, importer);
  for (SourceMatch& former : edge.sources) {
    if (former.importer == nullptr || former.open == 0) continue;
    const bool kept = std::any_of(importers.begin(), importers.end(), [&](const auto& importer) {
      return importer == former.importer;
    });
    if (kept) continue;
    former.importer->open -= former.open;
    former.importer->waiting.erase(edge.serial);
  }
  edge.sources = std::move(sources);
}

// Adds the tuples that were not asked yet.
void Engine::AskLinks(Edge& edge, SourceMatch& source, int output, bool all_alternatives,
                      std::vector<LinkTuple>& tuples) const {
  auto& answers = source.answers[output];
  answers.resize(edge.inputs.size());
  const KeyDigest& digest = edge.vertex->parts.front().digest;
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    for (const Usable& usable : Alternatives(edge, i)) {
      if (!usable.lookup && !all_alternatives) continue;
      const KeyId* parent = usable.node->IdIn(source.id);
      if (parent == nullptr || !answers[i].try_emplace(*parent).second) continue;
      tuples.push_back({*parent, static_cast<int>(i), digest, output, usable.selector});
    }
  }
}

void Engine::Opened(Edge& edge, SourceMatch& source) {
  ++source.open;
  if (source.importer == nullptr) return;
  ImporterState& importer = *source.importer;
  importer.waiting[edge.serial] = &edge;
  if (++importer.open > 1 || importer.timer != 0) return;
  std::weak_ptr<ImporterState> weak = source.importer;
  std::weak_ptr<Engine> engine = weak_from_this();
  importer.timer = loop_.PostAfter(importer.patience, [engine, weak] {
    const auto self = engine.lock();
    const auto late = weak.lock();
    if (self == nullptr || late == nullptr) return;
    self->OnImporterTimer(*late);
    self->Pump();
  });
}

void Engine::OnImporterTimer(ImporterState& importer) {
  importer.timer = 0;
  if (importer.open == 0) return;
  importer.late = true;
  if (probe_ != nullptr) probe_->OnImporterLate();
  for (const auto& [serial, edge] : importer.waiting) MarkDirty(*edge);
}

void Engine::Answered(Edge& edge, SourceMatch& source) {
  --source.open;
  MarkDirty(edge);
  if (source.importer == nullptr) return;
  ImporterState& importer = *source.importer;
  importer.late = false;
  if (source.open == 0) importer.waiting.erase(edge.serial);
  if (--importer.open == 0 && importer.timer != 0) {
    loop_.CancelTimer(std::exchange(importer.timer, 0));
  }
}

SourceMatch* Engine::SourceOf(Edge& edge, SourceId id) {
  for (SourceMatch& source : edge.sources) {
    if (source.id == id) return &source;
  }
  return nullptr;
}

void Engine::SendLinks(Edge& edge, SourceMatch& source, std::vector<LinkTuple> tuples) {
  if (tuples.empty()) return;
  Opened(edge, source);
  const SourceId id = source.id;
  auto done = Bind<std::vector<std::vector<LinkChild>>>(
      edge.lookups, [this, &edge, id, tuples](Result<std::vector<std::vector<LinkChild>>> found) {
        SourceMatch* mine = SourceOf(edge, id);
        if (mine == nullptr) return;
        Answered(edge, *mine);
        if (!found.ok()) return;
        for (size_t i = 0; i < tuples.size() && i < found->size(); ++i) {
          auto& answers = mine->answers[tuples[i].output];
          answers.resize(edge.inputs.size());
          answers[static_cast<size_t>(tuples[i].input)][tuples[i].parent] = (*found)[i];
        }
      });
  progress::Activity activity = ActivityFor(*edge.lookups);
  if (source.importer == nullptr) {
    local_.Lookup(std::move(tuples), std::move(activity), std::move(done));
  } else {
    source.importer->source->Lookup(std::move(tuples), std::move(activity), std::move(done));
  }
}

void Engine::SendRecords(Edge& edge, SourceMatch& source, std::vector<KeyId> ids) {
  if (ids.empty()) return;
  Opened(edge, source);
  const SourceId id = source.id;
  auto done = Bind<std::vector<KeyInfo>>(
      edge.lookups, [this, &edge, id, ids](Result<std::vector<KeyInfo>> found) {
        SourceMatch* mine = SourceOf(edge, id);
        if (mine == nullptr) return;
        Answered(edge, *mine);
        for (size_t i = 0; i < ids.size(); ++i) {
          ChildInfo& info = mine->info[ids[i]];
          info.answered = true;
          if (!found.ok() || i >= found->size()) continue;
          info.known = (*found)[i].known;
          info.records = (*found)[i].records;
        }
      });
  progress::Activity activity = ActivityFor(*edge.lookups);
  if (source.importer == nullptr) {
    local_.Records(std::move(ids), std::move(activity), std::move(done));
  } else {
    source.importer->source->Records(std::move(ids), std::move(activity), std::move(done));
  }
}

void Engine::IssueLookups(Edge& edge) {
  const bool root = edge.vertex->is_root();
  for (SourceMatch& source : edge.sources) {
    if (root) {
      std::vector<KeyId> ids;
      for (const KeyNodePtr& key : RootKeys(edge)) {
        const KeyId* id = key->IdIn(source.id);
        if (id != nullptr && !std::exchange(source.info[*id].asked, true)) ids.push_back(*id);
      }
      SendRecords(edge, source, std::move(ids));
    } else {
      std::vector<LinkTuple> tuples;
      AskLinks(edge, source, edge.output, false, tuples);
      SendLinks(edge, source, std::move(tuples));
    }
  }
}

ChildMap Engine::ChildrenOf(const Edge& edge, const SourceMatch& source, size_t index) const {
  ChildMap children;
  const auto answers = source.answers.find(edge.output);
  if (answers == source.answers.end() || answers->second.size() <= index) return children;
  for (const Usable& usable : Alternatives(edge, index)) {
    if (!usable.lookup) continue;
    const KeyId* parent = usable.node->IdIn(source.id);
    if (parent == nullptr) continue;
    const auto found = answers->second[index].find(*parent);
    if (found == answers->second[index].end()) continue;
    for (const LinkChild& child : found->second) {
      uint64_t& seq = children[child.child];
      seq = std::max(seq, child.seq);
    }
  }
  return children;
}

// Children that every input links to, each with its smallest seq over the inputs.
ChildMap Engine::CommonChildren(const Edge& edge, const SourceMatch& source) const {
  ChildMap common;
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    ChildMap children = ChildrenOf(edge, source, i);
    if (i == 0) {
      common = std::move(children);
    } else {
      KeepCommon(common, children);
    }
    if (common.empty()) break;
  }
  return common;
}

// Works out which keys the edge has, and asks for the records behind them when a result is wanted.
void Engine::Match(Edge& edge) {
  std::vector<KeyNodePtr> keys;
  const bool want_records = edge.goal() == Level::kDone;
  if (edge.vertex->is_root()) {
    keys = RootKeys(edge);
  } else {
    for (SourceMatch& source : edge.sources) {
      std::vector<KeyId> ask;
      for (const auto& [child, seq] : CommonChildren(edge, source)) {
        keys.push_back(KeyForChild(edge, source.id, child));
        if (want_records && !std::exchange(source.info[child].asked, true)) ask.push_back(child);
      }
      SendRecords(edge, source, std::move(ask));
    }
  }
  if (keys == edge.keys) return;
  edge.keys = std::move(keys);
  ++edge.keys_version;
  MarkAskersDirty(edge);
}

bool Engine::Settled(const Edge&, const SourceMatch& source) const {
  return source.open == 0 || (source.importer != nullptr && source.importer->late);
}

bool Engine::SourcesSettled(Edge& edge) {
  for (const SourceMatch& source : edge.sources) {
    if (!Settled(edge, source)) return false;
    if (source.open > 0) edge.importer_late = true;
  }
  return true;
}

}  // namespace kiln::solver
