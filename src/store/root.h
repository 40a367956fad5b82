#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mutex.h"
#include "store/janitor.h"
#include "store/lock_order.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace kiln::store {

// Directories of one snapshot number.
struct SnapshotDirs {
  std::string top;     // snapshots/N
  std::string fs;      // snapshots/N/fs
  std::string work;    // snapshots/N/work
  std::string tree;    // snapshots/N/tree
  std::string index;   // snapshots/N/index
  std::string links;   // snapshots/N/links
  std::string linked;  // snapshots/N/linked
};

// The names in a directory.
Result<std::vector<std::string>> NamesIn(const std::string& directory);

// A store's folder: where things lie in it and which numbers they get, its database, and the thread
// that deletes and syncs. All rooms stand on it. Safe from any thread once it is open.
class Root {
 public:
  explicit Root(StoreOptions options);
  // Marks the stop as clean if MarkReady was called.
  ~Root();
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  // Makes the folders, takes the lock, opens the database.
  Status Open();
  // Recovery is over. From here on a stop may be marked as clean.
  void MarkReady() { ready_ = true; }
  // Whether something failed that may have left files without rows: then a stop sweeps them.
  bool troubled() const { return orphans_ || database_->troubled(); }

  const StoreOptions& options() const { return options_; }
  const std::string& path() const { return path_; }
  const Clock& clock() const { return *clock_; }
  Database& database() { return *database_; }
  Janitor& janitor() { return *janitor_; }

  std::string BlobDir() const { return path_ + "/blobs/sha256"; }
  std::string SnapshotDir() const { return path_ + "/snapshots"; }
  SnapshotDirs DirsOf(int64_t num) const;
  // A new name in ingest/, where things are made before they are renamed to their place.
  std::string NewIngest(std::string_view kind) const;
  // Renames a directory away and has it deleted in the background.
  void Trash(const std::string& path);

  // Of records and named directories. A number is never given twice.
  int64_t NextNum() { return next_num_.fetch_add(1); }
  // Orders rows by when they were written, for the mark of what has reached the disk.
  int64_t NextSeq() { return next_seq_.fetch_add(1); }
  void SetNumbers(int64_t next_num, int64_t next_seq);

  // Before the first change of something that stays where it is: that this store is open, and so
  // cannot be trusted blindly if the power goes, is on the disk.
  Status MakeOpenDurable() EXCLUDES(open_mutex_);
  // Bytes given up when the disk is full, so that collection can write its rows.
  Status MakeBallast() const;
  // Gives them up if less than that is free.
  void GiveUpBallast() const;
  // ResourceExhausted if writing kSpaceStep and `more` bytes would leave the store no room for its
  // own books. Asked before each kSpaceStep bytes of what comes from outside.
  static constexpr uint64_t kSpaceStep = 1 << 20;
  Status CheckSpace(uint64_t more = 0) const;
  // Bytes that may still be written to the disk; all there are if nobody knows.
  uint64_t FreeBytes() const;

 private:
  void Sync();

  const StoreOptions options_;
  std::string path_;
  SystemClock system_clock_;
  const Clock* clock_ = nullptr;
  Fd lock_;
  Fd directory_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Janitor> janitor_;
  bool ready_ = false;
  std::atomic<bool> orphans_ = false;
  std::atomic<int64_t> next_num_{1};
  std::atomic<int64_t> next_seq_{1};
  Mutex open_mutex_ ACQUIRED_AFTER(lock_order::kRecords);
  bool open_is_durable_ GUARDED_BY(open_mutex_) = false;
};

}  // namespace kiln::store
