#include "cachedb/cachedb.h"

#include <sys/stat.h>

#include <cstdio>
#include <utility>

#include "base/log.h"
#include "base/loop.h"
#include "base/strings.h"
#include "cachedb/check.h"
#include "cachedb/latest.h"
#include "cachedb/snapshot_result.h"
#include "cachedb/tables.h"
#include "store/large_cache.h"
#include "store/store.h"

namespace kiln::cachedb {
namespace {

Result<std::unique_ptr<store::SqliteConnection>> OpenChecked(const std::string& path) {
  TRY_ASSIGN(auto db, store::SqliteConnection::Open(path));
  auto migrations = Tables::Migrations();
  TRY(db->Migrate(migrations));
  return db;
}

}  // namespace

struct CacheDb::State {
  State(std::unique_ptr<store::SqliteConnection> connection, store::Store& the_store)
      : db(std::move(connection)), tables(*db), store(the_store) {}

  std::unique_ptr<store::SqliteConnection> db;
  Tables tables;
  store::Store& store;
  const std::string name = "local";
  EventLoop thread{"kiln-cachedb"};  // last: stops first

  Status Transaction(const std::function<Status()>& work) {
    TRY(db->Exec("BEGIN IMMEDIATE"));
    Status status = work();
    if (status.ok()) status = db->Exec("COMMIT");
    if (!status.ok()) {
      // Some errors have rolled back already.
      if (auto undone = db->Exec("ROLLBACK"); !undone.ok())
        LOG_DEBUG("rollback: {}", undone.error());
    }
    return status;
  }

  Result<solver::Claimed> Claim(const solver::RecordInfo& record) {
    TRY_ASSIGN(auto stored, tables.Record(record.id));
    solver::Claimed claimed;
    if (!stored) {
      claimed.gone = true;
      return claimed;
    }
    claimed.capture = std::move(stored->capture);
    if (stored->store_id.empty()) return claimed;
    auto ref = store.Claim(stored->store_id);
    if (!ref.ok()) {
      if (ref.error().code() != Code::kNotFound) return ref.error();
      claimed.gone = true;
      return claimed;
    }
    TRY_ASSIGN(claimed.result, SnapshotResult::Make(store, std::move(*ref)));
    return claimed;
  }

  // Links of hits, not written yet. A build with many hits asks for one after the other: those that
  // came meanwhile are written together.
  struct PendingAssert {
    std::vector<solver::Link> links;
    solver::StatusCallback done;
  };
  std::vector<PendingAssert> asserts;

  LatestChildren latest;

  void NoteLatest(const std::vector<solver::Link>& links, int64_t seq) {
    for (const auto& link : links)
      latest.Note(link.tuple.digest, link.tuple.output, link.child, seq);
  }

  // Whether asserting the links again would change nothing that counts: no other child of the same
  // op was asserted since theirs was, by any of its links.
  Result<bool> AreLatest(const std::vector<solver::Link>& links) {
    for (const auto& link : links) {
      if (solver::IsRandom(link.tuple.digest)) continue;
      const auto known = latest.Find(link.tuple.digest, link.tuple.output, link.child);
      if (!known) return false;
      TRY_ASSIGN(auto seq, tables.SeqOf(link));
      if (!seq || *seq < *known) return false;
    }
    return true;
  }

  Status WriteAssert(const std::vector<solver::Link>& links) {
    TRY_ASSIGN(const bool done, AreLatest(links));
    if (done) return OkStatus();
    TRY_ASSIGN(int64_t seq, tables.NextSeq());
    for (const auto& link : links) {
      if (!solver::IsRandom(link.tuple.digest)) TRY(tables.AssertLink(link, seq));
    }
    NoteLatest(links, seq);
    return OkStatus();
  }

  void FlushAsserts() {
    const std::vector<PendingAssert> pending = std::exchange(asserts, {});
    if (pending.empty()) return;
    bool unchanged = true;
    for (const auto& one : pending) {
      const auto latest_all = AreLatest(one.links);
      unchanged = unchanged && latest_all.ok() && *latest_all;
    }
    Status status = OkStatus();
    if (!unchanged) {
      status = Transaction([&]() -> Status {
        for (const auto& one : pending) TRY(WriteAssert(one.links));
        return OkStatus();
      });
      if (!status.ok()) latest.Clear();
    }
    for (const auto& one : pending) one.done(status);
  }

  Result<std::vector<solver::RecordId>> Save(const solver::SaveBatch& batch) {
    FlushAsserts();
    std::vector<solver::RecordId> ids;
    int64_t seq = 0;
    TRY(Transaction([&]() -> Status {
      TRY_ASSIGN(seq, tables.NextSeq());
      for (const auto& link : batch.links) {
        if (!solver::IsRandom(link.tuple.digest)) TRY(tables.PutLink(link, seq));
      }
      for (const auto& record : batch.records) {
        store::SnapshotRef ref = RefOf(record.result);
        if (ref.is_ephemeral())
          return Internal("record of {} has no lasting snapshot", record.origin.vertex_name);
        TRY_ASSIGN(int64_t id, tables.PutRecord(record, ref.id()));
        ids.push_back(std::to_string(id));
        if (batch.miss && ids.size() == 1) TRY(tables.PutMiss(id, *batch.miss));
      }
      return OkStatus();
    }));
    NoteLatest(batch.links, seq);
    return ids;
  }

  void Forget(const std::vector<std::string>& store_ids) {
    const store::LargeCache cache(*db, store_ids.size());
    Status status = Transaction([&]() -> Status {
      std::vector<int64_t> gone;
      for (const auto& store_id : store_ids) {
        TRY_ASSIGN(auto records, tables.RecordsOf(store_id));
        gone.insert(gone.end(), records.begin(), records.end());
      }
      TRY(tables.DropRecords(gone));
      TRY_ASSIGN(const bool stale, tables.TextsAreStale());
      return stale ? tables.SweepTexts() : OkStatus();
    });
    if (!status.ok()) LOG_WARNING("forget collected results: {}", status.error());
  }
};

Result<std::shared_ptr<CacheDb>> CacheDb::Open(const std::string& path, store::Store& store) {
  auto db = OpenChecked(path);
  if (!db.ok()) {
    LOG_WARNING("{}: {}", path, db.error());
    const std::string aside = MoveAside(path);
    LOG_WARNING("the solver's cache {} was unreadable; moved to {}", path, aside);
    db = OpenChecked(path);
  }
  if (!db.ok()) return std::move(db.error().AddContext("open " + path));
  if (store.recovered()) {
    TRY_ASSIGN(const std::set<std::string> ids, store.RecordIds());
    if (auto dropped = DropLost(**db, ids); !dropped.ok())
      LOG_WARNING("{}: {}", path, dropped.error());
  }
  std::shared_ptr<CacheDb> cache(new CacheDb(std::make_unique<State>(std::move(*db), store)));
  store.OnCollected([weak = std::weak_ptr(cache)](std::span<const std::string> ids) {
    if (auto alive = weak.lock()) alive->ForgetResults(ids);
  });
  return cache;
}

CacheDb::CacheDb(std::unique_ptr<State> state) : state_(std::move(state)) {}
CacheDb::~CacheDb() = default;

const std::string& CacheDb::name() const { return state_->name; }

void CacheDb::Lookup(std::vector<solver::LinkTuple> tuples, progress::Activity,
                     solver::Callback<std::vector<std::vector<solver::LinkChild>>> done) {
  state_->thread.Post([state = state_.get(), tuples = std::move(tuples), done = std::move(done)] {
    done([&]() -> Result<std::vector<std::vector<solver::LinkChild>>> {
      std::vector<std::vector<solver::LinkChild>> answers;
      for (const auto& tuple : tuples) {
        TRY_ASSIGN(auto children, state->tables.Children(tuple));
        answers.push_back(std::move(children));
      }
      return answers;
    }());
  });
}

void CacheDb::Records(std::vector<solver::KeyId> ids, progress::Activity,
                      solver::Callback<std::vector<solver::KeyInfo>> done) {
  state_->thread.Post([state = state_.get(), ids = std::move(ids), done = std::move(done)] {
    done([&]() -> Result<std::vector<solver::KeyInfo>> {
      std::vector<solver::KeyInfo> answers;
      for (const auto& id : ids) {
        TRY_ASSIGN(auto info, state->tables.Key(id));
        answers.push_back(std::move(info));
      }
      return answers;
    }());
  });
}

void CacheDb::Claim(solver::RecordInfo record, progress::Activity,
                    solver::Callback<solver::Claimed> done) {
  state_->thread.Post([state = state_.get(), record = std::move(record), done = std::move(done)] {
    done(state->Claim(record));
  });
}

void CacheDb::Save(solver::SaveBatch batch, solver::Callback<std::vector<solver::RecordId>> done) {
  state_->thread.Post([state = state_.get(), batch = std::move(batch), done = std::move(done)] {
    done(state->Save(batch));
  });
}

void CacheDb::Assert(std::vector<solver::Link> links, solver::StatusCallback done) {
  state_->thread.Post([state = state_.get(), links = std::move(links), done = std::move(done)] {
    state->asserts.push_back({links, done});
    // Behind what is in the queue already, other asserts among it.
    if (state->asserts.size() == 1) state->thread.Post([state] { state->FlushAsserts(); });
  });
}

void CacheDb::Drop(solver::RecordId record, solver::StatusCallback done) {
  state_->thread.Post([state = state_.get(), record = std::move(record), done = std::move(done)] {
    auto id = ParseInt(record);
    done(!id ? OkStatus() : state->Transaction([&] { return state->tables.DropRecords({*id}); }));
  });
}

void CacheDb::Parents(std::vector<solver::KeyId> ids,
                      solver::Callback<std::vector<std::vector<solver::ParentLink>>> done) {
  state_->thread.Post([state = state_.get(), ids = std::move(ids), done = std::move(done)] {
    done([&]() -> Result<std::vector<std::vector<solver::ParentLink>>> {
      std::vector<std::vector<solver::ParentLink>> answers;
      for (const auto& id : ids) {
        TRY_ASSIGN(auto parents, state->tables.ParentsOf(id));
        answers.push_back(std::move(parents));
      }
      return answers;
    }());
  });
}

Result<std::vector<Miss>> CacheDb::MissesOf(const std::string& build_ref) {
  Result<std::vector<Miss>> misses = std::vector<Miss>();
  state_->thread.RunAndWait([&] { misses = state_->tables.MissesOf(build_ref); });
  return misses;
}

void CacheDb::ForgetResults(std::span<const std::string> store_ids) {
  std::vector<std::string> ids(store_ids.begin(), store_ids.end());
  // The store may collect while a claim runs on this very thread.
  if (state_->thread.OnLoopThread()) {
    state_->thread.Post([state = state_.get(), ids] { state->Forget(ids); });
  } else {
    state_->thread.RunAndWait([&] { state_->Forget(ids); });
  }
}

Result<CacheDb::Counts> CacheDb::Count() {
  Result<Counts> counts = Counts();
  state_->thread.RunAndWait([&] { counts = state_->tables.Count(); });
  return counts;
}

}  // namespace kiln::cachedb
