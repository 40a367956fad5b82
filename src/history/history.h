#pragma once

#include <moby/buildkit/v1/control.pb.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "history/log_file.h"

namespace kiln::history {

using Record = moby::buildkit::v1::BuildHistoryRecord;
using Event = moby::buildkit::v1::BuildHistoryEvent;

// What is kept. Builds beyond `entries` go once they are older than `age`; the oldest go before
// that where there are more than `max_entries` or their logs have more than `max_bytes`. Pinned
// ones stay.
struct Retention {
  bool record = true;  // false: builds leave nothing; what was recorded before goes by the rest
  size_t entries = 50;
  nanoseconds age = std::chrono::hours(48);
  size_t max_entries = 1000;
  uint64_t max_bytes = uint64_t{512} << 20;
};

struct Blob {
  std::string digest;
  std::string path;
  int64_t size = 0;
  WallTime created;
};

// The builds of a root: running and ended. Safe from any thread; everything but Active and Listen
// may block on the disk.
class History {
 public:
  // Nothing is read before it is needed. `clock` outlives the history. `forget` is told of every
  // build whose record goes, for what is kept elsewhere in its name; it may block.
  using Forget = std::function<void(const std::string& ref)>;
  static Result<std::unique_ptr<History>> Open(
      const std::string& dir, const Clock& clock, const Retention& retention,
      Forget forget = [](const std::string&) {});
  History(const History&) = delete;
  History& operator=(const History&) = delete;
  ~History();

  const Retention& retention() const { return retention_; }

  // A build begins: `record` has everything but an end. Its log is to be appended to.
  Result<LogWriter> Begin(const Record& record);
  // It has ended: `record` replaces what Begin was given. `external_error` is a serialized
  // google.rpc.Status with all details, or empty. If the disk does not take it, the build is known
  // all the same, its record is written at the next occasion, and a later start that finds none
  // says so.
  Status Complete(Record record, const std::string& external_error);

  // Ended builds, the newest first.
  std::vector<Record> Completed();
  std::optional<Record> Find(const std::string& ref);
  // Whether such a build has ended; reads no record.
  bool Has(const std::string& ref) const;
  // Builds under way.
  std::vector<Record> Active() const;
  Result<LogReader> OpenLog(const std::string& ref);
  // What a record's descriptors name.
  std::optional<Blob> FindBlob(const std::string& digest);
  // All of them, by digest, each once.
  std::vector<Blob> ListBlobs();

  // NotFound if there is no such build.
  Status SetPinned(const std::string& ref, bool pinned);
  // No error if there is none.
  Status Delete(const std::string& ref);
  // Removes what need not be kept, and writes what could not be written before.
  void Collect();

  // `listener` is told of what begins, ends and goes, in order, until the returned token is
  // destroyed. It must not block or call back.
  using Listener = std::function<void(const Event&)>;
  std::shared_ptr<void> Listen(Listener listener);

 private:
  History(std::string dir, const Clock& clock, const Retention& retention, Forget forget)
      : dir_(std::move(dir)), clock_(clock), retention_(retention), forget_(std::move(forget)) {}

  // What could not be written of a build that has ended.
  struct Unwritten {
    std::string external_error;
  };
  struct Entry {
    Record record;
    std::optional<Unwritten> unwritten;
  };
  // Where the blobs of the records are, by digest; some have the same.
  using Blobs = std::multimap<std::string, std::pair<std::string, const char*>>;

  std::string PathOf(const std::string& ref, const char* kind) const;
  void Load() EXCLUDES(load_, disk_, mutex_);
  void LoadOne(const std::string& name) EXCLUDES(disk_, mutex_);
  Result<Record> ReadRecord(const std::string& path) const REQUIRES(disk_);
  // Gives a record without an end one.
  Status Finish(const std::string& path, Record* record) const REQUIRES(disk_);
  Result<LogWriter> BeginFiles(const Record& record) REQUIRES(disk_);
  Status Write(const Record& record, const std::string& external_error) REQUIRES(disk_);
  void WriteLate() EXCLUDES(disk_, mutex_);
  void Remove(const std::string& ref) EXCLUDES(disk_, mutex_);
  Blob BlobLocked(const Blobs::value_type& place) const REQUIRES(mutex_);
  bool MayBeFull() const;
  std::vector<std::string> TooMany() const EXCLUDES(mutex_);
  void PutLocked(Entry entry) REQUIRES(mutex_);
  void DropLocked(const std::string& ref) REQUIRES(mutex_);
  void TellLocked(moby::buildkit::v1::BuildHistoryEventType type, const Record& record)
      REQUIRES(mutex_);

  const std::string dir_;
  const Clock& clock_;
  const Retention retention_;
  const Forget forget_;
  // Held while all records are read, which one thread does once.
  Mutex load_ ACQUIRED_BEFORE(disk_);
  // Held while the files of one build are written, read or removed.
  mutable Mutex disk_ ACQUIRED_BEFORE(mutex_);
  // Never held over work on files.
  mutable Mutex mutex_;
  bool loaded_ GUARDED_BY(mutex_) = false;
  std::map<std::string, Record> active_ GUARDED_BY(mutex_);
  std::map<std::string, Entry> completed_ GUARDED_BY(mutex_);
  Blobs blobs_ GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<Listener>> listeners_ GUARDED_BY(mutex_);
};

}  // namespace kiln::history
