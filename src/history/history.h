#pragma once

#include <moby/buildkit/v1/control.pb.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "history/log_file.h"

namespace kiln::history {

using Record = moby::buildkit::v1::BuildHistoryRecord;
using Event = moby::buildkit::v1::BuildHistoryEvent;

// What is kept. Builds beyond `entries` go once they are older than `age`; the oldest go before
// that where there are more than `max_entries` or their logs have more than `max_bytes`. Pinned
// ones stay.
struct Retention {
  size_t entries = 50;
  nanoseconds age = std::chrono::hours(48);
  size_t max_entries = 1000;
  uint64_t max_bytes = uint64_t{512} << 20;
};

struct Blob {
  std::string path;
  int64_t size = 0;
  WallTime created;
};

// The builds of a root: running and ended. Safe from any thread; everything but Active may block on
// the disk.
class History {
 public:
  // Nothing is read before it is needed. `clock` outlives the history.
  static Result<std::unique_ptr<History>> Open(const std::string& dir, const Clock& clock,
                                               const Retention& retention);
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // A build begins: `record` has everything but an end. Its log is to be appended to.
  Result<LogWriter> Begin(const Record& record);
  // It has ended: `record` replaces what Begin was given. `external_error` is a serialized
  // google.rpc.Status with all details, or empty.
  Status Complete(Record record, const std::string& external_error);

  // Ended builds, the newest first.
  std::vector<Record> Completed();
  std::optional<Record> Find(const std::string& ref);
  // Whether such a build has ended, by a look at one file.
  bool Has(const std::string& ref) const;
  // Builds under way.
  std::vector<Record> Active() const;
  Result<LogReader> OpenLog(const std::string& ref);
  // What a record's descriptors name.
  std::optional<Blob> FindBlob(const std::string& digest);

  // NotFound if there is no such build.
  Status SetPinned(const std::string& ref, bool pinned);
  // No error if there is none.
  Status Delete(const std::string& ref);
  void Collect();

  // `listener` is told of what begins, ends and goes, in order, until the returned token is
  // destroyed. It must not block or call back.
  using Listener = std::function<void(const Event&)>;
  std::shared_ptr<void> Listen(Listener listener);

 private:
  History(std::string dir, const Clock& clock, const Retention& retention)
      : dir_(std::move(dir)), clock_(clock), retention_(retention) {}

  struct Entry {
    Record record;
    int64_t log_bytes = 0;
  };
  std::string PathOf(const std::string& ref, const char* kind) const;
  void LoadLocked();
  void LoadOneLocked(const std::string& name);
  Status FinishInterrupted(Record* record) const;
  Status WriteLocked(const Record& record);
  void DeleteLocked(const std::string& ref);
  bool MayBeFullLocked() const;
  void CollectLocked();
  void TellLocked(moby::buildkit::v1::BuildHistoryEventType type, const Record& record);

  const std::string dir_;
  const Clock& clock_;
  const Retention retention_;
  mutable std::mutex mutex_;
  bool loaded_ = false;
  std::map<std::string, Record> active_;
  std::map<std::string, Entry> completed_;
  std::vector<std::weak_ptr<Listener>> listeners_;
};

}  // namespace kiln::history
