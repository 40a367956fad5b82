#include "history/history.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "api/timestamp.h"
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
constexpr const char* kErrorType = "application/vnd.googleapis.google.rpc.status+proto";

using api::Earlier;

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
                                               const Retention& retention, Forget forget) {
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, "mkdir {}", dir);
  // What interrupted writes left.
  for (const std::string& name : NamesIn(dir)) {
    if (name.find(".record.") != std::string::npos || name.find(".error.") != std::string::npos)
      ::unlink((dir + "/" + name).c_str());
  }
  return std::unique_ptr<History>(new History(dir, clock, retention, std::move(forget)));
}

// Refs are the clients' words: files are named by a digest of theirs.
std::string History::PathOf(const std::string& ref, const char* kind) const {
  return dir_ + "/" + Sha256Of(ref).hex().substr(0, 32) + kind;
}

void History::Load() {
  {
    MutexLock lock(mutex_);
    if (loaded_) return;
  }
  MutexLock loading(load_);
  {
    MutexLock lock(mutex_);
    if (loaded_) return;
  }
  const std::vector<std::string> names = NamesIn(dir_);
  for (const std::string& name : names) {
    if (name.ends_with(kRecord)) LoadOne(name);
  }
  MutexLock lock(mutex_);
  loaded_ = true;
}

void History::LoadOne(const std::string& name) {
  const std::string path = dir_ + "/" + name;
  MutexLock disk(disk_);
  Result<Record> record = ReadRecord(path);
  if (record.ok()) {
    // Known already: it began, or ended, since this history was opened.
    MutexLock lock(mutex_);
    if (active_.contains(record->ref()) || completed_.contains(record->ref())) return;
  }
  const Status finished = record.ok() ? Finish(path, &*record) : record.error();
  if (!finished.ok()) {
    LOG_WARNING("a record of a build is removed: {}", finished.error());
    RemoveFiles(path.substr(0, path.size() - std::strlen(kRecord)));
    return;
  }
  MutexLock lock(mutex_);
  PutLocked({*std::move(record), std::nullopt});
}

Result<Record> History::ReadRecord(const std::string& path) const {
  TRY_ASSIGN(const std::string text, ReadFile(path));
  Record record;
  // After a loss of power a file may be there with nothing in it.
  if (!record.ParseFromString(text) || PathOf(record.ref(), kRecord) != path)
    return DataLoss("{} is none", path);
  return record;
}

// The process that ran the build ended before it did, or could not write its end.
Status History::Finish(const std::string& path, Record* record) const {
  if (record->has_completedat()) return OkStatus();
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoError(errno, "{}", path);
  const bool ended = (info.st_mode & S_IWUSR) == 0;
  const std::string log_path = PathOf(record->ref(), kLog);
  TRY_ASSIGN(const std::string log, ReadFile(log_path, SIZE_MAX));
  if (::stat(log_path.c_str(), &info) != 0) return ErrnoError(errno, "{}", log_path);
  api::ToProto(EventTime(info.st_mtim.tv_sec, info.st_mtim.tv_nsec), record->mutable_completedat());
  record->mutable_error()->set_code(static_cast<int>(ended ? Code::kDataLoss : Code::kUnavailable));
  record->mutable_error()->set_message(ended
                                           ? "how this build ended could not be written to the disk"
                                           : "the build server ended during this build");
  record->mutable_logs()->set_media_type(kLogType);
  record->mutable_logs()->set_digest(Sha256Of(log).ToString());
  record->mutable_logs()->set_size(static_cast<int64_t>(log.size()));
  return WriteFileAtomically(path, record->SerializeAsString(), 0600);
}

Status History::Write(const Record& record, const std::string& external_error) {
  if (!external_error.empty())
    TRY(WriteFileAtomically(PathOf(record.ref(), kError), external_error, 0600));
  return WriteFileAtomically(PathOf(record.ref(), kRecord), record.SerializeAsString(), 0600);
}

Result<LogWriter> History::Begin(const Record& record) {
  MutexLock disk(disk_);
  {
    MutexLock lock(mutex_);
    DropLocked(record.ref());
    active_[record.ref()] = record;  // before its files are there: Has means builds that ended
  }
  auto log = BeginFiles(record);
  MutexLock lock(mutex_);
  if (log.ok()) {
    TellLocked(pb::STARTED, record);
  } else {
    active_.erase(record.ref());
  }
  return log;
}

Result<LogWriter> History::BeginFiles(const Record& record) {
  if (::access(PathOf(record.ref(), kRecord).c_str(), F_OK) == 0) forget_(record.ref());
  TRY_ASSIGN(LogWriter log, LogWriter::Create(PathOf(record.ref(), kLog)));
  TRY(Write(record, ""));
  return log;
}

Status History::Complete(Record record, const std::string& external_error) {
  if (record.has_logs()) record.mutable_logs()->set_media_type(kLogType);
  if (!external_error.empty()) {
    record.mutable_externalerror()->set_media_type(kErrorType);
    record.mutable_externalerror()->set_digest(Sha256Of(external_error).ToString());
    record.mutable_externalerror()->set_size(static_cast<int64_t>(external_error.size()));
  }
  MutexLock disk(disk_);
  Status written = Write(record, external_error);
  Entry entry{std::move(record), std::nullopt};
  if (!written.ok()) {
    // Changing the mode takes no room: the next start knows that the build ended.
    ::chmod(PathOf(entry.record.ref(), kRecord).c_str(), 0400);
    entry.unwritten = Unwritten{external_error};
  }
  MutexLock lock(mutex_);
  active_.erase(entry.record.ref());
  TellLocked(pb::COMPLETE, entry.record);
  PutLocked(std::move(entry));
  return written;
}

// Gives the disk another try.
void History::WriteLate() {
  std::vector<std::string> late;
  {
    MutexLock lock(mutex_);
    for (const auto& [ref, entry] : completed_) {
      if (entry.unwritten) late.push_back(ref);
    }
  }
  for (const std::string& ref : late) {
    MutexLock disk(disk_);
    Entry entry;
    {
      MutexLock lock(mutex_);
      const auto found = completed_.find(ref);
      if (found == completed_.end() || !found->second.unwritten) continue;
      entry = found->second;
    }
    if (!Write(entry.record, entry.unwritten->external_error).ok()) return;
    MutexLock lock(mutex_);
    const auto found = completed_.find(ref);
    if (found != completed_.end()) found->second.unwritten.reset();
  }
}

History::~History() { WriteLate(); }

void History::PutLocked(Entry entry) {
  const std::string ref = entry.record.ref();
  DropLocked(ref);
  if (entry.record.has_logs()) blobs_.emplace(entry.record.logs().digest(), std::pair(ref, kLog));
  if (entry.record.has_externalerror())
    blobs_.emplace(entry.record.externalerror().digest(), std::pair(ref, kError));
  completed_[ref] = std::move(entry);
}

void History::DropLocked(const std::string& ref) {
  if (completed_.erase(ref) == 0) return;
  std::erase_if(blobs_, [&](const auto& blob) { return blob.second.first == ref; });
}

std::vector<Record> History::Completed() {
  Load();
  std::vector<Record> records;
  {
    MutexLock lock(mutex_);
    for (const auto& [ref, entry] : completed_) records.push_back(entry.record);
  }
  std::stable_sort(records.begin(), records.end(), [](const Record& a, const Record& b) {
    return Earlier(b.createdat(), a.createdat());
  });
  return records;
}

std::optional<Record> History::Find(const std::string& ref) {
  Load();
  MutexLock lock(mutex_);
  const auto found = completed_.find(ref);
  if (found == completed_.end()) return std::nullopt;
  return found->second.record;
}

bool History::Has(const std::string& ref) const {
  {
    MutexLock lock(mutex_);
    if (active_.contains(ref)) return false;
    if (loaded_ || completed_.contains(ref)) return completed_.contains(ref);
  }
  return ::access(PathOf(ref, kRecord).c_str(), F_OK) == 0;
}

std::vector<Record> History::Active() const {
  MutexLock lock(mutex_);
  std::vector<Record> records;
  for (const auto& [ref, record] : active_) records.push_back(record);
  return records;
}

Result<LogReader> History::OpenLog(const std::string& ref) {
  return LogReader::Open(PathOf(ref, kLog));
}

std::optional<Blob> History::FindBlob(const std::string& digest) {
  Load();
  MutexLock lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return std::nullopt;
  return BlobLocked(*found);
}

std::vector<Blob> History::ListBlobs() {
  Load();
  MutexLock lock(mutex_);
  std::vector<Blob> blobs;
  for (auto it = blobs_.begin(); it != blobs_.end(); it = blobs_.upper_bound(it->first))
    blobs.push_back(BlobLocked(*it));
  return blobs;
}

Blob History::BlobLocked(const Blobs::value_type& place) const {
  const auto& [ref, kind] = place.second;
  const Record& record = completed_.at(ref).record;
  const bool log = kind == kLog;
  return {place.first, PathOf(ref, kind),
          log ? record.logs().size() : record.externalerror().size(),
          api::TimeOf(record.completedat())};
}

Status History::SetPinned(const std::string& ref, bool pinned) {
  Load();
  MutexLock disk(disk_);
  Entry entry;
  {
    MutexLock lock(mutex_);
    const auto found = completed_.find(ref);
    if (found == completed_.end()) return NotFound("no build {}", ref);
    entry = found->second;
  }
  entry.record.set_pinned(pinned);
  entry.record.set_generation(entry.record.generation() + 1);
  TRY(Write(entry.record, entry.unwritten ? entry.unwritten->external_error : ""));
  entry.unwritten.reset();
  MutexLock lock(mutex_);
  TellLocked(pb::COMPLETE, entry.record);
  PutLocked(std::move(entry));
  return OkStatus();
}

Status History::Delete(const std::string& ref) {
  Load();
  Remove(ref);
  return OkStatus();
}

void History::Remove(const std::string& ref) {
  MutexLock disk(disk_);
  Record record;
  {
    MutexLock lock(mutex_);
    const auto found = completed_.find(ref);
    if (found == completed_.end()) return;
    record = std::move(found->second.record);
    DropLocked(ref);
  }
  RemoveFiles(PathOf(ref, ""));
  forget_(ref);
  MutexLock lock(mutex_);
  TellLocked(pb::DELETED, record);
}

// Nothing is read where a look at the files says that nothing need go.
bool History::MayBeFull() const {
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
  WriteLate();
  if (!MayBeFull()) return;
  Load();
  for (const std::string& ref : TooMany()) Remove(ref);
}

std::vector<std::string> History::TooMany() const {
  MutexLock lock(mutex_);
  std::vector<const Record*> unpinned;
  for (const auto& [ref, entry] : completed_) {
    if (!entry.record.pinned()) unpinned.push_back(&entry.record);
  }
  std::sort(unpinned.begin(), unpinned.end(), [](const Record* a, const Record* b) {
    return Earlier(b->createdat(), a->createdat());
  });
  const WallTime oldest = clock_.Now() - retention_.age;
  uint64_t bytes = 0;
  std::vector<std::string> gone;
  for (size_t i = 0; i < unpinned.size(); ++i) {
    bytes += static_cast<uint64_t>(unpinned[i]->logs().size());
    const bool old = i >= retention_.entries && api::TimeOf(unpinned[i]->completedat()) < oldest;
    // The newest is kept, however long its log.
    const bool over = i > 0 && (i >= retention_.max_entries || bytes > retention_.max_bytes);
    if (old || over) gone.push_back(unpinned[i]->ref());
  }
  return gone;
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
  MutexLock lock(mutex_);
  listeners_.push_back(token);
  return token;
}

}  // namespace kiln::history
