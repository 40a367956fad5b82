#include "solver/local_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace kiln::solver {
namespace {

// Answers of both halves, merged by position. `disk_at[i]` is where the disk's i-th answer belongs.
// A disk that cannot be read costs hits and no build; it is said when that begins.
template <typename T, typename Merge>
Callback<std::vector<T>> Merged(std::vector<T> answers, std::vector<size_t> disk_at, Merge merge,
                                std::shared_ptr<std::atomic<bool>> unreadable,
                                Callback<std::vector<T>> done) {
  return [answers = std::move(answers), disk_at = std::move(disk_at), merge,
          unreadable = std::move(unreadable),
          done = std::move(done)](Result<std::vector<T>> found) mutable {
    if (!unreadable->exchange(!found.ok()) && !found.ok()) {
      LOG_WARNING("the build cache cannot be read, steps run again: {}", found.error());
    }
    if (found.ok()) {
      for (size_t i = 0; i < disk_at.size() && i < found->size(); ++i) {
        merge(answers[disk_at[i]], std::move((*found)[i]));
      }
    }
    done(std::move(answers));
  };
}

}  // namespace

std::vector<LinkChild> LocalView::Children(const LinkTuple& tuple) const {
  std::vector<LinkChild> children;
  if (const auto found = links_.find(tuple); found != links_.end()) {
    for (const auto& [child, seq] : found->second) children.push_back({child, seq});
  }
  return children;
}

void LocalView::Lookup(std::vector<LinkTuple> tuples, progress::Activity activity,
                       Callback<std::vector<std::vector<LinkChild>>> done) {
  std::vector<std::vector<LinkChild>> answers;
  std::vector<LinkTuple> ask;
  std::vector<size_t> disk_at;
  for (size_t i = 0; i < tuples.size(); ++i) {
    answers.push_back(Children(tuples[i]));
    if (IsMemoryId(tuples[i].parent)) continue;
    disk_at.push_back(i);
    ask.push_back(std::move(tuples[i]));
  }
  auto merge = [](std::vector<LinkChild>& into, std::vector<LinkChild> more) {
    into.insert(into.end(), more.begin(), more.end());
  };
  if (ask.empty()) return done(std::move(answers));
  disk_->Lookup(
      std::move(ask), std::move(activity),
      Merged(std::move(answers), std::move(disk_at), merge, unreadable_, std::move(done)));
}

KeyInfo LocalView::Info(const KeyId& id) {
  KeyInfo info;
  info.known = leads_.contains(id);
  const auto found = keys_.find(id);
  if (found == keys_.end()) return info;
  std::erase_if(found->second.records,
                [](const MemoryRecord& record) { return record.result.expired(); });
  for (const MemoryRecord& record : found->second.records) info.records.push_back(record.info);
  info.known = true;
  return info;
}

void LocalView::Records(std::vector<KeyId> ids, progress::Activity activity,
                        Callback<std::vector<KeyInfo>> done) {
  std::vector<KeyInfo> answers;
  std::vector<KeyId> ask;
  std::vector<size_t> disk_at;
  for (size_t i = 0; i < ids.size(); ++i) {
    answers.push_back(Info(ids[i]));
    if (IsMemoryId(ids[i])) continue;
    disk_at.push_back(i);
    ask.push_back(std::move(ids[i]));
  }
  auto merge = [](KeyInfo& into, KeyInfo more) { into = std::move(more); };
  if (ask.empty()) return done(std::move(answers));
  disk_->Records(
      std::move(ask), std::move(activity),
      Merged(std::move(answers), std::move(disk_at), merge, unreadable_, std::move(done)));
}

void LocalView::Claim(RecordInfo record, progress::Activity activity, Callback<Claimed> done) {
  if (!IsMemoryId(record.id)) {
    disk_->Claim(std::move(record), std::move(activity), std::move(done));
    return;
  }
  Claimed claimed;
  claimed.gone = true;
  if (const auto found = keys_.find(record.key); found != keys_.end()) {
    for (const MemoryRecord& candidate : found->second.records) {
      if (candidate.info.id != record.id) continue;
      claimed.result = candidate.result.lock();
      claimed.capture = candidate.capture;
      claimed.gone = claimed.result == nullptr;
    }
  }
  done(std::move(claimed));
}

void LocalView::Drop(RecordId record) {
  if (!IsMemoryId(record)) {
    disk_->Drop(std::move(record), [](const Status&) {});
    return;
  }
  for (auto& [id, key] : keys_) {
    std::erase_if(key.records, [&](const MemoryRecord& r) { return r.info.id == record; });
  }
}

LocalView::Parts LocalView::Split(SaveBatch batch) {
  Parts parts;
  for (KeyId& key : batch.keys) {
    (IsMemoryId(key) ? parts.memory : parts.disk).keys.push_back(std::move(key));
  }
  for (Link& link : batch.links) {
    const bool memory = IsMemoryId(link.tuple.parent) || IsMemoryId(link.child);
    (memory ? parts.memory : parts.disk).links.push_back(std::move(link));
  }
  for (NewRecord& record : batch.records) {
    (IsMemoryId(record.key) ? parts.memory : parts.disk).records.push_back(std::move(record));
  }
  if (!parts.disk.records.empty()) parts.disk.miss = std::move(batch.miss);
  return parts;
}

bool LocalView::Alive(const KeyId& id) const {
  return !IsMemoryId(id) || roots_.contains(id) || keys_.contains(id);
}

void LocalView::AddLink(const Link& link, uint64_t seq) {
  if (!Alive(link.tuple.parent)) return;
  links_[link.tuple][link.child] = seq;
  leads_[link.tuple.parent].insert(link.tuple);
  if (IsMemoryId(link.child)) keys_[link.child].parents[link.tuple.input].insert(link.tuple);
}

std::vector<RecordId> LocalView::SaveMemory(const SaveBatch& batch) {
  const uint64_t seq = ++seq_;
  // A key is worth keeping while each of its inputs has a parent that may come up again.
  std::map<KeyId, std::map<int, bool>> alive;
  for (const Link& link : batch.links) {
    bool& input = alive[link.child][link.tuple.input];
    input = input || Alive(link.tuple.parent);
  }
  for (const Link& link : batch.links) {
    const auto& inputs = alive.at(link.child);
    const bool keep =
        !IsMemoryId(link.child) ||
        std::all_of(inputs.begin(), inputs.end(), [](const auto& input) { return input.second; });
    if (keep) AddLink(link, seq);
  }
  std::vector<RecordId> ids;
  for (const NewRecord& record : batch.records) {
    RecordId id = fmt::format("{}{}", kMemoryPrefix, next_record_++);
    if (roots_.contains(record.key) || keys_.contains(record.key)) {
      keys_[record.key].records.push_back(
          {{id, record.key, record.created, record.origin}, record.result, record.capture});
    }
    ids.push_back(std::move(id));
  }
  return ids;
}

void LocalView::Assert(std::vector<Link> links, StatusCallback done) {
  const uint64_t seq = ++seq_;
  std::vector<Link> disk;
  for (Link& link : links) {
    const bool memory_child = IsMemoryId(link.child);
    if (memory_child && !keys_.contains(link.child)) continue;
    if (memory_child || IsMemoryId(link.tuple.parent)) {
      AddLink(link, seq);
    } else {
      disk.push_back(std::move(link));
    }
  }
  if (disk.empty()) return done(OkStatus());
  disk_->Assert(std::move(disk), std::move(done));
}

void LocalView::ReleaseRoot(const KeyId& id) {
  const auto found = roots_.find(id);
  if (found == roots_.end() || --found->second > 0) return;
  roots_.erase(found);
  Forget(id);
}

// Drops the id with its links; a memory id that so loses all links of one input goes too.
void LocalView::Forget(const KeyId& first) {
  std::vector<KeyId> todo{first};
  while (!todo.empty()) {
    const KeyId id = std::move(todo.back());
    todo.pop_back();
    if (const auto key = keys_.find(id); key != keys_.end()) {
      for (const auto& [input, tuples] : key->second.parents) {
        for (const LinkTuple& tuple : tuples) {
          const auto link = links_.find(tuple);
          if (link == links_.end()) continue;
          link->second.erase(id);
          if (!link->second.empty()) continue;
          links_.erase(link);
          const auto leads = leads_.find(tuple.parent);
          leads->second.erase(tuple);
          if (leads->second.empty()) leads_.erase(leads);
        }
      }
      keys_.erase(key);
    }
    const auto leads = leads_.find(id);
    if (leads == leads_.end()) continue;
    const std::set<LinkTuple> tuples = std::move(leads->second);
    leads_.erase(leads);
    for (const LinkTuple& tuple : tuples) {
      const auto link = links_.find(tuple);
      for (const auto& [child, seq] : link->second) {
        const auto key = keys_.find(child);
        if (key == keys_.end()) continue;
        auto& of_input = key->second.parents[tuple.input];
        of_input.erase(tuple);
        if (of_input.empty()) todo.push_back(child);
      }
      links_.erase(link);
    }
  }
}

size_t LocalView::memory_links() const {
  size_t sum = 0;
  for (const auto& [tuple, children] : links_) sum += children.size();
  return sum;
}

}  // namespace kiln::solver
