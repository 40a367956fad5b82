#include "history/history.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/fd.h"
#include "base/log.h"
#include "base/unix_time.h"

namespace kiln::history {
namespace {

namespace pb = moby::buildkit::v1;

constexpr const char* kRecord = ".record";
constexpr const char* kLog = ".log";
constexpr const char* kError = ".error";
constexpr const char* kLogType = "application/vnd.buildkit.status.v0";
// The type has this spelling in BuildKit.
constexpr const char* kErrorType = "application/vnd.googeapis.google.rpc.status+proto";

bool Earlier(const google::protobuf::Timestamp& a, const google::protobuf::Timestamp& b) {
  return a.seconds() != b.seconds() ? a.seconds() < b.seconds() : a.nanos() < b.nanos();
}

WallTime TimeOf(const google::protobuf::Timestamp& time) {
  return EventTime(time.seconds(), time.nanos());
}

std::vector<std::string> NamesIn(const std::string& dir) {
  std::vector<std::string> names;
  DIR* stream = ::opendir(dir.c_str());
  if (stream == nullptr) return names;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own
  while (const dirent* entry = ::readdir(stream)) names.emplace_back(entry->d_name);
  ::closedir(stream);
  return names;
}

// The record last: what it names is never looked for without it.
void RemoveFiles(const std::string& stem) {
  for (const char* kind : {kLog, kError, kRecord}) ::unlink((stem + kind).c_str());
}

}  // namespace

Result<std::unique_ptr<History>> History::Open(const std::string& dir, const Clock& clock,
                                               const Retention& retention) {
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, "mkdir {}", dir);
  return std::unique_ptr<History>(new History(dir, clock, retention));
}

// Refs are the clients' words: files are named by a digest of theirs.
std::string History::PathOf(const std::string& ref, const char* kind) const {
  return dir_ + "/" + Sha256Of(ref).hex().substr(0, 32) + kind;
}

void History::LoadLocked() {
  if (std::exchange(loaded_, true)) return;
  for (const std::string& name : NamesIn(dir_)) {
    if (name.ends_with(kRecord)) LoadOneLocked(name);
  }
  // What an interrupted write left: no file but these belongs here.
  for (const std::string& name : NamesIn(dir_)) {
    if (name.find(".record.") != std::string::npos || name.find(".error.") != std::string::npos)
      ::unlink((dir_ + "/" + name).c_str());
  }
}

void History::LoadOneLocked(const std::string& name) {
  const std::string path = dir_ + "/" + name;
  Entry entry;
  const Result<std::string> text = ReadFile(path);
  Record& record = entry.record;
  // After a loss of power a file may be there with nothing in it.
  if (!text.ok() || !record.ParseFromString(*text) || PathOf(record.ref(), kRecord) != path) {
    LOG_WARNING("{} is no record of a build: it is removed", path);
    RemoveFiles(path.substr(0, path.size() - std::strlen(kRecord)));
    return;
  }
  if (active_.contains(record.ref())) return;
  if (!record.has_completedat()) {
    if (const Status ended = FinishInterrupted(&record); !ended.ok()) {
      LOG_WARNING("build {}: {}", record.ref(), ended.error());
      RemoveFiles(path.substr(0, path.size() - std::strlen(kRecord)));
      return;
    }
  }
  entry.log_bytes = record.logs().size();
  completed_[record.ref()] = std::move(entry);
}

// The process that ran it ended before it did.
Status History::FinishInterrupted(Record* record) const {
  const std::string path = PathOf(record->ref(), kLog);
  TRY_ASSIGN(const std::string log, ReadFile(path, SIZE_MAX));
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoError(errno, "{}", path);
  record->mutable_completedat()->set_seconds(info.st_mtim.tv_sec);
  record->mutable_completedat()->set_nanos(static_cast<int32_t>(info.st_mtim.tv_nsec));
  record->mutable_error()->set_code(static_cast<int>(Code::kUnavailable));
  record->mutable_error()->set_message("the build server ended during this build");
  record->mutable_logs()->set_media_type(kLogType);
  record->mutable_logs()->set_digest(Sha256Of(log).ToString());
  record->mutable_logs()->set_size(static_cast<int64_t>(log.size()));
  return WriteFileAtomically(PathOf(record->ref(), kRecord), record->SerializeAsString(), 0600);
}

Status History::WriteLocked(const Record& record) {
  return WriteFileAtomically(PathOf(record.ref(), kRecord), record.SerializeAsString(), 0600);
}

Result<LogWriter> History::Begin(const Record& record) {
  std::lock_guard lock(mutex_);
  completed_.erase(record.ref());
  TRY_ASSIGN(LogWriter log, LogWriter::Create(PathOf(record.ref(), kLog)));
  TRY(WriteLocked(record));
  active_[record.ref()] = record;
  TellLocked(pb::STARTED, record);
  return log;
}

Status History::Complete(Record record, const std::string& external_error) {
  std::lock_guard lock(mutex_);
  active_.erase(record.ref());
  if (record.has_logs()) record.mutable_logs()->set_media_type(kLogType);
  if (!external_error.empty()) {
    TRY(WriteFileAtomically(PathOf(record.ref(), kError), external_error, 0600));
    record.mutable_externalerror()->set_media_type(kErrorType);
    record.mutable_externalerror()->set_digest(Sha256Of(external_error).ToString());
    record.mutable_externalerror()->set_size(static_cast<int64_t>(external_error.size()));
  }
  TRY(WriteLocked(record));
  Entry& entry = completed_[record.ref()];
  entry.log_bytes = record.logs().size();
  entry.record = std::move(record);
  TellLocked(pb::COMPLETE, entry.record);
  return OkStatus();
}

std::vector<Record> History::Completed() {
  std::lock_guard lock(mutex_);
  LoadLocked();
  std::vector<Record> records;
  for (const auto& [ref, entry] : completed_) records.push_back(entry.record);
  std::stable_sort(records.begin(), records.end(), [](const Record& a, const Record& b) {
    return Earlier(b.createdat(), a.createdat());
  });
  return records;
}

std::optional<Record> History::Find(const std::string& ref) {
  std::lock_guard lock(mutex_);
  LoadLocked();
  const auto found = completed_.find(ref);
  if (found == completed_.end()) return std::nullopt;
  return found->second.record;
}

bool History::Has(const std::string& ref) const {
  std::lock_guard lock(mutex_);
  return !active_.contains(ref) && ::access(PathOf(ref, kRecord).c_str(), F_OK) == 0;
}

std::vector<Record> History::Active() const {
  std::lock_guard lock(mutex_);
  std::vector<Record> records;
  for (const auto& [ref, record] : active_) records.push_back(record);
  return records;
}

Result<LogReader> History::OpenLog(const std::string& ref) {
  return LogReader::Open(PathOf(ref, kLog));
}

std::optional<Blob> History::FindBlob(const std::string& digest) {
  std::lock_guard lock(mutex_);
  LoadLocked();
  for (const auto& [ref, entry] : completed_) {
    const Record& record = entry.record;
    const WallTime created = TimeOf(record.completedat());
    if (record.logs().digest() == digest)
      return Blob{PathOf(ref, kLog), record.logs().size(), created};
    if (record.externalerror().digest() == digest)
      return Blob{PathOf(ref, kError), record.externalerror().size(), created};
  }
  return std::nullopt;
}

Status History::SetPinned(const std::string& ref, bool pinned) {
  std::lock_guard lock(mutex_);
  LoadLocked();
  const auto found = completed_.find(ref);
  if (found == completed_.end()) return NotFound("no build {}", ref);
  Record& record = found->second.record;
  record.set_pinned(pinned);
  record.set_generation(record.generation() + 1);
  TRY(WriteLocked(record));
  TellLocked(pb::COMPLETE, record);
  return OkStatus();
}

Status History::Delete(const std::string& ref) {
  std::lock_guard lock(mutex_);
  LoadLocked();
  if (completed_.contains(ref)) DeleteLocked(ref);
  return OkStatus();
}

void History::DeleteLocked(const std::string& ref) {
  const auto found = completed_.find(ref);
  RemoveFiles(PathOf(ref, ""));
  TellLocked(pb::DELETED, found->second.record);
  completed_.erase(found);
}

// Nothing is read where a look at the files says that nothing need go.
bool History::MayBeFullLocked() const {
  size_t records = 0;
  uint64_t bytes = 0;
  for (const std::string& name : NamesIn(dir_)) {
    if (name.ends_with(kRecord)) ++records;
    struct stat info;
    if (name.ends_with(kLog) && ::stat((dir_ + "/" + name).c_str(), &info) == 0)
      bytes += static_cast<uint64_t>(info.st_size);
  }
  return records > std::min(retention_.entries, retention_.max_entries) ||
         bytes > retention_.max_bytes;
}

void History::Collect() {
  std::lock_guard lock(mutex_);
  if (!MayBeFullLocked()) return;
  LoadLocked();
  CollectLocked();
}

void History::CollectLocked() {
  std::vector<const Entry*> unpinned;
  for (const auto& [ref, entry] : completed_) {
    if (!entry.record.pinned()) unpinned.push_back(&entry);
  }
  std::sort(unpinned.begin(), unpinned.end(), [](const Entry* a, const Entry* b) {
    return Earlier(b->record.createdat(), a->record.createdat());
  });
  const WallTime oldest = clock_.Now() - retention_.age;
  uint64_t bytes = 0;
  std::vector<std::string> gone;
  for (size_t i = 0; i < unpinned.size(); ++i) {
    bytes += static_cast<uint64_t>(unpinned[i]->log_bytes);
    const bool old = i >= retention_.entries && TimeOf(unpinned[i]->record.completedat()) < oldest;
    // The newest is kept, however long its log.
    const bool over = i > 0 && (i >= retention_.max_entries || bytes > retention_.max_bytes);
    if (old || over) gone.push_back(unpinned[i]->record.ref());
  }
  for (const std::string& ref : gone) DeleteLocked(ref);
}

void History::TellLocked(pb::BuildHistoryEventType type, const Record& record) {
  if (listeners_.empty()) return;
  Event event;
  event.set_type(type);
  *event.mutable_record() = record;
  std::erase_if(listeners_, [&](const std::weak_ptr<Listener>& weak) {
    const auto listener = weak.lock();
    if (listener) (*listener)(event);
    return !listener;
  });
}

std::shared_ptr<void> History::Listen(Listener listener) {
  auto token = std::make_shared<Listener>(std::move(listener));
  std::lock_guard lock(mutex_);
  listeners_.push_back(token);
  return token;
}

}  // namespace kiln::history
