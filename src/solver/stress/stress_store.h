#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "solver/memory_cache.h"
#include "solver/stress/book.h"

namespace kiln::solver::stress {

// What a stored record holds: the payload, not a lease on it.
class StoredPayload final : public StoredResult {
 public:
  explicit StoredPayload(PayloadPtr payload) : payload_(std::move(payload)) {}
  bool lazy() const override { return true; }
  int64_t size_bytes() const override { return 1; }
  bool Holds(const std::string&) const override { return false; }
  const PayloadPtr& payload() const { return payload_; }

 private:
  PayloadPtr payload_;
};

// The local source of a seed: answers when the agenda says so, writes in order, can be collected
// from, and remembers its writes so that it can be reopened as it was after any of them.
class StressStore final : public LocalCacheSource {
 public:
  using Write = std::function<void(MemoryCache&)>;

  StressStore(Book& book, Agenda& agenda, Rng& rng)
      : book_(book), agenda_(agenda), rng_(rng), core_(std::make_unique<MemoryCache>("local")) {}

  const std::string& name() const override { return name_; }
  void Lookup(std::vector<LinkTuple> tuples, progress::Activity activity,
              Callback<std::vector<std::vector<LinkChild>>> done) override;
  void Records(std::vector<KeyId> ids, progress::Activity activity,
               Callback<std::vector<KeyInfo>> done) override;
  void Claim(RecordInfo record, progress::Activity activity, Callback<Claimed> done) override;
  void Save(SaveBatch batch, Callback<std::vector<RecordId>> done) override;
  void Assert(std::vector<Link> links, StatusCallback done) override;
  void Drop(RecordId record, StatusCallback done) override;
  void Parents(std::vector<KeyId> ids,
               Callback<std::vector<std::vector<ParentLink>>> done) override;

  // Takes one record that nobody leases; false if there is none.
  bool Collect();
  // The loop has seen the answers given so far.
  void Delivered();
  // Children by links, and records, whose writes the solver was told of.
  std::set<KeyId> ToldChildren(const LinkTuple& tuple) const;
  bool ToldRecord(const KeyId& id, const std::vector<std::pair<uint64_t, RecordId>>& barred) const;

  MemoryCache& core() { return *core_; }
  std::shared_ptr<MemoryCache> TakeCore() { return std::shared_ptr<MemoryCache>(std::move(core_)); }
  // All that is stored was there from the start.
  void Reopened();
  const std::vector<Write>& history() const { return history_; }
  void set_lazy_percent(int percent) { lazy_percent_ = percent; }
  void set_fail_saves(int percent) { fail_saves_ = percent; }

 private:
  struct Pending {
    Write write;
    std::function<void()> told;
  };
  void Enqueue(std::string what, Write write, std::function<void()> told);
  void CheckBatch(const SaveBatch& batch);

  const std::string name_ = "local";
  Book& book_;
  Agenda& agenda_;
  Rng& rng_;
  std::unique_ptr<MemoryCache> core_;
  std::deque<Pending> writes_;
  std::vector<Write> history_;
  int lazy_percent_ = 30;
  int fail_saves_ = 0;
  std::set<std::pair<LinkTuple, KeyId>> told_links_, telling_links_;
  std::set<RecordId> told_records_, telling_records_;
};

enum class ImporterKind { kGood, kLate, kNever, kWrong };

// Another machine's store as an importer.
class StressImporter final : public CacheSource {
 public:
  StressImporter(Book& book, Agenda& agenda, Agenda& late, Rng& rng,
                 std::shared_ptr<MemoryCache> core, ImporterKind kind)
      : book_(book),
        agenda_(kind == ImporterKind::kGood || kind == ImporterKind::kWrong ? agenda : late),
        rng_(rng),
        core_(std::move(core)),
        kind_(kind) {}
  const std::string& name() const override { return name_; }
  void Lookup(std::vector<LinkTuple> tuples, progress::Activity activity,
              Callback<std::vector<std::vector<LinkChild>>> done) override;
  void Records(std::vector<KeyId> ids, progress::Activity activity,
               Callback<std::vector<KeyInfo>> done) override;
  void Claim(RecordInfo record, progress::Activity activity, Callback<Claimed> done) override;

 private:
  const std::string name_ = "importer";
  Book& book_;
  Agenda& agenda_;
  Rng& rng_;
  std::shared_ptr<MemoryCache> core_;
  const ImporterKind kind_;
};

PayloadPtr PayloadOf(const MemoryCache& core, const RecordId& record);

}  // namespace kiln::solver::stress
