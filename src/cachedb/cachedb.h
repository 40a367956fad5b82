#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "solver/cache_source.h"

namespace kiln::store {
class Store;
}

namespace kiln::cachedb {

// Why one run of a build was needed, for `kiln explain`.
struct Miss {
  std::string vertex_name;
  solver::OpIdentity identity;
  solver::MissReason reason = solver::MissReason::kNoMatch;
  std::optional<WallTime> nearest;  // when the nearest record was made; unset: there was none
  std::string label;  // the first key part that differs from it, "" if none or no nearest
  std::string was;    // its value there, or the digest of a long one
  std::string is;     // and here
};

// The solver's keys, links, records and misses on disk: `cache.db` (docs/formats.md). All methods
// are safe from any thread; work happens on one thread of its own, in call order. The file is
// disposable: a damaged or foreign one is moved aside
// ("cache.db.damaged-<n>") and an empty one begun.
class CacheDb final : public solver::LocalCacheSource {
 public:
  // `store` must outlive this. Registers itself for the store's collected records.
  static Result<std::shared_ptr<CacheDb>> Open(const std::string& path, store::Store& store);
  // Finishes what was asked.
  ~CacheDb() override;

  const std::string& name() const override;
  void Lookup(std::vector<solver::LinkTuple> tuples, progress::Activity activity,
              solver::Callback<std::vector<std::vector<solver::LinkChild>>> done) override;
  void Records(std::vector<solver::KeyId> ids, progress::Activity activity,
               solver::Callback<std::vector<solver::KeyInfo>> done) override;
  void Claim(solver::RecordInfo record, progress::Activity activity,
             solver::Callback<solver::Claimed> done) override;
  void Save(solver::SaveBatch batch, solver::Callback<std::vector<solver::RecordId>> done) override;
  void Assert(std::vector<solver::Link> links, solver::StatusCallback done) override;
  void Drop(solver::RecordId record, solver::StatusCallback done) override;
  void Parents(std::vector<solver::KeyId> ids,
               solver::Callback<std::vector<std::vector<solver::ParentLink>>> done) override;

  // What the runs of one build missed, in order. Blocks.
  Result<std::vector<Miss>> MissesOf(const std::string& build_ref);
  // Records whose data went with these ids of the store. Blocks until they are gone.
  void ForgetResults(std::span<const std::string> store_ids);
  // Rows per table, for tests and `debug`. Blocks.
  struct Counts {
    int64_t keys = 0;
    int64_t links = 0;
    int64_t records = 0;
    int64_t texts = 0;
  };
  Result<Counts> Count();

 private:
  struct State;
  explicit CacheDb(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kiln::cachedb
