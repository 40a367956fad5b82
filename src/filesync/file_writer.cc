#include "filesync/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/strings.h"
#include "base/thread.h"

namespace kiln::filesync {
namespace {

constexpr size_t kLaneBytes = 16 << 20;
constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kTaskOverhead = 256;

class ContentHasher final : public EntryHasher {
 public:
  void Update(std::string_view content) override { hasher_.Update(content); }
  Digest Finish() override { return hasher_.Finish(); }

 private:
  Sha256 hasher_;
};

}  // namespace

struct FileWriter::File {
  uint32_t id = 0;
  Entry entry;
  Destination::Place place;
  bool replaces = false;  // something may be there
  std::string waiting;    // reader's side: pieces not yet posted

  // Writer's side.
  Fd fd;
  bool is_beside = false;  // there is something under the temporary name
  int64_t written = 0;
  std::unique_ptr<EntryHasher> hasher;

  ~File() {
    if (is_beside) unlinkat(place.dir->get(), place.temporary.c_str(), 0);
  }
  Status Create();
  Status Finish();
};

Status FileWriter::File::Create() {
  constexpr int kFlags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
  const int dir = place.dir->get();
  if (!replaces) {
    fd = Fd(openat(dir, place.name.c_str(), kFlags, 0600));
    if (fd) return OkStatus();
    if (errno != EEXIST) return ErrnoError(errno, "create {}", Quoted(entry.path));
  }
  const std::string& name = place.temporary;
  fd = Fd(MakeTemporary(dir, name, [&] { return openat(dir, name.c_str(), kFlags, 0600); }));
  if (!fd) return ErrnoError(errno, "create {}", Quoted(entry.path));
  is_beside = true;
  return OkStatus();
}

Status FileWriter::File::Finish() {
  if (written != entry.size) {
    return DataLoss(
        "{}: got {} bytes of {}: the file changed or could not be read while it was sent",
        Quoted(entry.path), written, entry.size);
  }
  TRY(SetMetadata(fd.get(), entry));
  fd.Reset();
  if (!is_beside) return OkStatus();
  TRY(MoveToPlace(place, entry.path));
  is_beside = false;
  return OkStatus();
}

FileWriter::FileWriter(size_t threads, HasherFactory make_hasher, std::function<void()> on_error)
    : make_hasher_(std::move(make_hasher)), on_error_(std::move(on_error)) {
  if (!make_hasher_) {
    make_hasher_ = [](const Entry&) { return std::make_unique<ContentHasher>(); };
  }
  for (size_t i = 0; i < threads; ++i) {
    auto lane = std::make_unique<Lane>();
    auto thread = StartThread("kiln-write", [this, raw = lane.get()] { Work(*raw); });
    if (thread.ok()) {
      lane->thread = *std::move(thread);
    } else if (!lanes_.empty()) {
      return;  // those there are do
    } else {
      // Takes what it is given, and drops it.
      MutexLock lock(lane->mutex);
      lane->stopping = true;
      MutexLock error_lock(error_mutex_);
      error_ = std::move(thread).error();
    }
    lanes_.push_back(std::move(lane));
    if (error()) return;
  }
}

FileWriter::~FileWriter() { Stop(true); }

void FileWriter::Open(uint32_t id, const Entry& entry, Destination::Place place, bool replaces) {
  auto file = std::make_shared<File>();
  file->id = id;
  file->entry = entry;
  file->place = std::move(place);
  file->replaces = replaces;
  CHECK(open_.emplace(id, std::move(file)).second);
}

void FileWriter::Append(uint32_t id, std::string data) {
  const std::shared_ptr<File>& file = open_.at(id);
  if (file->waiting.empty()) {
    file->waiting = std::move(data);
  } else {
    file->waiting += data;
  }
  if (file->waiting.size() < kPieceBytes) return;
  Post(*lanes_[id % lanes_.size()], {file, std::exchange(file->waiting, {}), false});
}

void FileWriter::Close(uint32_t id) {
  const auto it = open_.find(id);
  CHECK(it != open_.end());
  std::string rest = std::move(it->second->waiting);
  Post(*lanes_[id % lanes_.size()], {std::move(it->second), std::move(rest), true});
  open_.erase(it);
}

void FileWriter::Post(Lane& lane, Task task) {
  const size_t size = task.data.size() + kTaskOverhead;
  MutexLock lock(lane.mutex);
  while (!lane.stopping && lane.bytes > 0 && lane.bytes + size > kLaneBytes)
    lane.changed.Wait(lock);
  if (lane.stopping) return;
  lane.bytes += size;
  lane.tasks.push_back(std::move(task));
  lane.changed.NotifyAll();
}

void FileWriter::Work(Lane& lane) {
  while (true) {
    Task task;
    {
      MutexLock lock(lane.mutex);
      while (!lane.stopping && lane.tasks.empty()) lane.changed.Wait(lock);
      if (lane.tasks.empty()) return;
      task = std::move(lane.tasks.front());
      lane.tasks.pop_front();
    }
    const size_t size = task.data.size() + kTaskOverhead;
    // After a failure the rest is only taken off the queue.
    if (!error()) {
      const Status written = Write(lane, task);
      if (!written.ok()) Fail(written.error());
    }
    MutexLock lock(lane.mutex);
    lane.bytes -= size;
    lane.changed.NotifyAll();
  }
}

Status FileWriter::Write(Lane& lane, Task& task) {
  File& file = *task.file;
  if (!file.hasher) {
    TRY(file.Create());
    file.hasher = make_hasher_(file.entry);
  }
  file.written += static_cast<int64_t>(task.data.size());
  if (file.written > file.entry.size) return file.Finish();
  if (!task.data.empty()) {
    TRY_CTX(WriteAll(file.fd.get(), task.data), "{}", Quoted(file.entry.path));
    file.hasher->Update(task.data);
  }
  if (!task.last) return OkStatus();
  TRY(file.Finish());
  lane.digests.emplace_back(file.id, file.hasher->Finish());
  return OkStatus();
}

void FileWriter::Fail(Error error) {
  {
    MutexLock lock(error_mutex_);
    if (error_) return;
    error_ = std::move(error);
  }
  on_error_();
}

std::optional<Error> FileWriter::error() const {
  MutexLock lock(error_mutex_);
  return error_;
}

void FileWriter::Stop(bool drop) {
  for (const auto& lane : lanes_) {
    MutexLock lock(lane->mutex);
    lane->stopping = true;
    if (drop) lane->tasks.clear();
    lane->changed.NotifyAll();
  }
  for (const auto& lane : lanes_) {
    if (lane->thread.joinable()) lane->thread.join();
  }
}

Result<std::vector<std::pair<uint32_t, Digest>>> FileWriter::Finish() {
  Stop(false);
  if (const auto failure = error()) return *failure;
  std::vector<std::pair<uint32_t, Digest>> digests;
  for (const auto& lane : lanes_)
    digests.insert(digests.end(), lane->digests.begin(), lane->digests.end());
  return digests;
}

}  // namespace kiln::filesync
