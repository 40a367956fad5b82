#include "solver/stress/stress_store.h"

#include <algorithm>

namespace kiln::solver::stress {

PayloadPtr PayloadOf(const MemoryCache& core, const RecordId& record) {
  const auto found = core.records().find(record);
  if (found == core.records().end()) return nullptr;
  return static_cast<const StoredPayload&>(*found->second.result).payload();
}

void StressStore::Lookup(std::vector<LinkTuple> tuples, progress::Activity,
                         Callback<std::vector<std::vector<LinkChild>>> done) {
  agenda_.Later("lookup", [this, tuples, done] { core_->Lookup(tuples, {}, done); });
}

void StressStore::Records(std::vector<KeyId> ids, progress::Activity,
                          Callback<std::vector<KeyInfo>> done) {
  agenda_.Later("records", [this, ids, done] { core_->Records(ids, {}, done); });
}

void StressStore::Claim(RecordInfo record, progress::Activity, Callback<Claimed> done) {
  agenda_.Later("claim " + record.id, [this, record, done] {
    Claimed claimed;
    const PayloadPtr payload = PayloadOf(*core_, record.id);
    // A store knows of some losses; of others only who reads does.
    if (payload == nullptr || (book_.Lost(*payload) && rng_.Percent(50))) {
      claimed.gone = true;
      ++book_.excuses[record.key];
    } else if (rng_.Percent(3)) {
      claimed.unavailable = true;
      ++book_.excuses[record.key];
    } else {
      claimed.result = std::make_shared<StressResult>(book_, payload, rng_.Percent(lazy_percent_));
    }
    done(std::move(claimed));
  });
}

void StressStore::Enqueue(std::string what, Write write, std::function<void()> told) {
  writes_.push_back({std::move(write), std::move(told)});
  agenda_.Later(std::move(what), [this] {
    Pending next = std::move(writes_.front());
    writes_.pop_front();
    next.write(*core_);
    history_.push_back(next.write);
    next.told();
  });
}

// A record's links come from the content that its run read.
void StressStore::CheckBatch(const SaveBatch& batch) {
  for (const NewRecord& record : batch.records) {
    if (record.result == nullptr || !record.imported_from.empty()) continue;
    const PayloadPtr& payload = AsStress(record.result).payload();
    const RunRecord& run = book_.runs[static_cast<size_t>(payload->run)];
    for (size_t i = 0; i < run.reads.size(); ++i) {
      const KeyId mine = ContentKeyId(ContentText(run.reads[i]));
      for (const Link& link : batch.links) {
        if (link.child != record.key || link.tuple.input != static_cast<int>(i)) continue;
        if (!link.tuple.parent.starts_with("sha256:") || link.tuple.parent == mine) continue;
        for (const PayloadPtr& other : book_.payloads) {
          for (const char* selector : {"", "a", "b"}) {
            if (ContentKeyId(ContentText(other->value.Read(selector))) == link.tuple.parent) {
              book_.Fail("value", fmt::format("run {} of {} is saved under content it did not read",
                                              run.id, run.d));
            }
          }
        }
      }
    }
  }
}

void StressStore::Save(SaveBatch batch, Callback<std::vector<RecordId>> done) {
  for (const NewRecord& record : batch.records) {
    if (record.result != nullptr) continue;
    book_.Fail("lease", "a record without data is saved");
    return;
  }
  CheckBatch(batch);
  if (rng_.Percent(fail_saves_)) {
    for (const NewRecord& record : batch.records) ++book_.excuses[record.key];
    agenda_.Later("save fails", [done] { done(ResourceExhausted("disk full")); });
    return;
  }
  for (NewRecord& record : batch.records) {
    record.result = std::make_shared<StoredPayload>(AsStress(record.result).payload());
  }
  auto ids = std::make_shared<std::vector<RecordId>>();
  Enqueue(
      "save", [batch, ids](MemoryCache& core) { *ids = core.SaveNow(batch); },
      [this, batch, ids, done] {
        for (const Link& link : batch.links) telling_links_.insert({link.tuple, link.child});
        telling_records_.insert(ids->begin(), ids->end());
        done(*ids);
      });
}

void StressStore::Assert(std::vector<Link> links, StatusCallback done) {
  Enqueue(
      "assert", [links](MemoryCache& core) { core.AssertNow(links); },
      [this, links, done] {
        for (const Link& link : links) telling_links_.insert({link.tuple, link.child});
        done(OkStatus());
      });
}

void StressStore::Drop(RecordId record, StatusCallback done) {
  const auto found = core_->records().find(record);
  if (found != core_->records().end()) ++book_.excuses[found->second.info.key];
  Enqueue(
      "drop", [record](MemoryCache& core) { core.DropNow(record); }, [done] { done(OkStatus()); });
}

void StressStore::Parents(std::vector<KeyId> ids,
                          Callback<std::vector<std::vector<ParentLink>>> done) {
  agenda_.Later("parents", [this, ids, done] { core_->Parents(ids, done); });
}

bool StressStore::Collect() {
  std::vector<RecordId> free;
  for (const auto& [id, record] : core_->records()) {
    if (PayloadOf(*core_, id)->leases == 0) free.push_back(id);
  }
  if (free.empty()) return false;
  const RecordId id = free[static_cast<size_t>(rng_.Below(static_cast<int>(free.size())))];
  ++book_.excuses[core_->records().at(id).info.key];
  auto write = [id](MemoryCache& core) { core.DropNow(id); };
  write(*core_);
  history_.push_back(write);
  return true;
}

void StressStore::Delivered() {
  told_links_.merge(telling_links_);
  told_records_.merge(telling_records_);
  telling_links_.clear();
  telling_records_.clear();
}

void StressStore::Reopened() {
  for (const auto& [tuple, children] : core_->links()) {
    for (const auto& [child, seq] : children) told_links_.insert({tuple, child});
  }
  for (const auto& [id, record] : core_->records()) told_records_.insert(id);
}

std::set<KeyId> StressStore::ToldChildren(const LinkTuple& tuple) const {
  std::set<KeyId> children;
  for (const LinkChild& child : core_->Children(tuple)) {
    if (told_links_.contains({tuple, child.child})) children.insert(child.child);
  }
  return children;
}

bool StressStore::ToldRecord(const KeyId& id,
                             const std::vector<std::pair<uint64_t, RecordId>>& barred) const {
  for (const RecordInfo& record : core_->Info(id).records) {
    if (!told_records_.contains(record.id)) continue;
    const std::pair<uint64_t, RecordId> mine(0, record.id);
    if (std::find(barred.begin(), barred.end(), mine) == barred.end()) return true;
  }
  return false;
}

void StressImporter::Lookup(std::vector<LinkTuple> tuples, progress::Activity,
                            Callback<std::vector<std::vector<LinkChild>>> done) {
  agenda_.Later("import lookup", [this, tuples, done] {
    if (kind_ == ImporterKind::kWrong && rng_.Percent(30)) return done(Unavailable("importer"));
    std::vector<std::vector<LinkChild>> answers;
    for (const LinkTuple& tuple : tuples) {
      answers.push_back(core_->Children(tuple));
      if (kind_ == ImporterKind::kWrong && rng_.Percent(30)) {
        answers.back().push_back({fmt::format("bogus{}", rng_.Below(3)), 1});
      }
    }
    done(std::move(answers));
  });
}

void StressImporter::Records(std::vector<KeyId> ids, progress::Activity,
                             Callback<std::vector<KeyInfo>> done) {
  agenda_.Later("import records", [this, ids, done] {
    if (kind_ == ImporterKind::kWrong && rng_.Percent(30)) return done(Unavailable("importer"));
    std::vector<KeyInfo> answers;
    for (const KeyId& id : ids) {
      answers.push_back(core_->Info(id));
      if (kind_ == ImporterKind::kWrong && rng_.Percent(30)) {
        answers.back().known = true;
        answers.back().records.push_back({fmt::format("bogus{}", rng_.Below(5)), id, {}, {}});
      }
    }
    done(std::move(answers));
  });
}

void StressImporter::Claim(RecordInfo record, progress::Activity, Callback<Claimed> done) {
  agenda_.Later("import claim", [this, record, done] {
    Claimed claimed;
    const PayloadPtr payload = PayloadOf(*core_, record.id);
    if (payload == nullptr || (kind_ == ImporterKind::kWrong && rng_.Percent(50))) {
      if (kind_ == ImporterKind::kWrong && rng_.Percent(30)) return done(Unavailable("importer"));
      claimed.gone = true;
    } else {
      claimed.result = std::make_shared<StressResult>(book_, payload, true);
    }
    done(std::move(claimed));
  });
}

}  // namespace kiln::solver::stress
