#include "solver/memory_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace kiln::solver {

std::vector<LinkChild> MemoryCache::Children(const LinkTuple& tuple) const {
  std::vector<LinkChild> children;
  if (const auto found = links_.find(tuple); found != links_.end()) {
    for (const auto& [child, seq] : found->second) children.push_back({child, seq});
  }
  return children;
}

KeyInfo MemoryCache::Info(const KeyId& id) const {
  KeyInfo info;
  if (const auto found = by_key_.find(id); found != by_key_.end()) {
    for (const RecordId& record : found->second) info.records.push_back(records_.at(record).info);
  }
  info.known = !info.records.empty() || leads_.contains(id) || parents_.contains(id);
  return info;
}

void MemoryCache::Lookup(std::vector<LinkTuple> tuples, progress::Activity,
                         Callback<std::vector<std::vector<LinkChild>>> done) {
  std::vector<std::vector<LinkChild>> answers;
  answers.reserve(tuples.size());
  for (const LinkTuple& tuple : tuples) answers.push_back(Children(tuple));
  done(std::move(answers));
}

void MemoryCache::Records(std::vector<KeyId> ids, progress::Activity,
                          Callback<std::vector<KeyInfo>> done) {
  std::vector<KeyInfo> answers;
  answers.reserve(ids.size());
  for (const KeyId& id : ids) answers.push_back(Info(id));
  done(std::move(answers));
}

void MemoryCache::Claim(RecordInfo record, progress::Activity, Callback<Claimed> done) {
  Claimed claimed;
  const auto found = records_.find(record.id);
  if (found == records_.end()) {
    claimed.gone = true;
  } else {
    claimed.result = found->second.result;
    claimed.capture = found->second.capture;
  }
  done(std::move(claimed));
}

std::vector<RecordId> MemoryCache::SaveNow(const SaveBatch& batch) {
  ++seq_;
  for (const Link& link : batch.links) {
    links_[link.tuple][link.child] = seq_;
    parents_[link.child].insert(link.tuple);
    leads_[link.tuple.parent][link.tuple] = 1;
  }
  std::vector<RecordId> ids;
  for (const NewRecord& record : batch.records) {
    RecordId id = fmt::format("r{}", next_record_++);
    by_key_[record.key].insert(id);
    records_[id] = {{id, record.key, record.created, record.origin},
                    record.result,
                    record.capture,
                    record.imported_from};
    ids.push_back(std::move(id));
  }
  if (batch.miss) misses_.push_back(*batch.miss);
  return ids;
}

void MemoryCache::Save(SaveBatch batch, Callback<std::vector<RecordId>> done) {
  done(SaveNow(batch));
}

void MemoryCache::AssertNow(const std::vector<Link>& links) {
  ++seq_;
  for (const Link& link : links) {
    if (!parents_.contains(link.child) && !by_key_.contains(link.child)) continue;
    links_[link.tuple][link.child] = seq_;
    parents_[link.child].insert(link.tuple);
    leads_[link.tuple.parent][link.tuple] = 1;
  }
}

void MemoryCache::Assert(std::vector<Link> links, StatusCallback done) {
  AssertNow(links);
  done(OkStatus());
}

void MemoryCache::Sweep(const KeyId& first) {
  std::vector<KeyId> todo{first};
  while (!todo.empty()) {
    const KeyId id = std::move(todo.back());
    todo.pop_back();
    if (by_key_.contains(id) || leads_.contains(id)) continue;
    const auto parents = parents_.find(id);
    if (parents == parents_.end()) continue;
    for (const LinkTuple& tuple : parents->second) {
      const auto link = links_.find(tuple);
      link->second.erase(id);
      if (!link->second.empty()) continue;
      links_.erase(link);
      const auto leads = leads_.find(tuple.parent);
      leads->second.erase(tuple);
      if (!leads->second.empty()) continue;
      leads_.erase(leads);
      todo.push_back(tuple.parent);
    }
    parents_.erase(parents);
  }
}

void MemoryCache::DropNow(const RecordId& record) {
  const auto found = records_.find(record);
  if (found == records_.end()) return;
  const KeyId key = found->second.info.key;
  records_.erase(found);
  const auto by_key = by_key_.find(key);
  by_key->second.erase(record);
  if (by_key->second.empty()) by_key_.erase(by_key);
  Sweep(key);
}

void MemoryCache::Drop(RecordId record, StatusCallback done) {
  DropNow(record);
  done(OkStatus());
}

void MemoryCache::Parents(std::vector<KeyId> ids,
                          Callback<std::vector<std::vector<ParentLink>>> done) {
  std::vector<std::vector<ParentLink>> answers;
  for (const KeyId& id : ids) {
    std::vector<ParentLink>& answer = answers.emplace_back();
    const auto found = parents_.find(id);
    if (found == parents_.end()) continue;
    for (const LinkTuple& tuple : found->second) {
      answer.push_back({tuple, links_.at(tuple).at(id)});
    }
  }
  done(std::move(answers));
}

}  // namespace kiln::solver
