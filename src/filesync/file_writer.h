#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "filesync/destination.h"
#include "filesync/entry.h"
#include "filesync/receiver.h"

namespace kiln::filesync {

// Threads that write the files of a transfer while the stream is being read. Pieces of one file are
// written in order; the bytes waiting are bounded (Append blocks), the threads never wait for
// anything but the disk.
class FileWriter {
 public:
  using HasherFactory = std::function<std::unique_ptr<EntryHasher>(const Entry&)>;

  // `on_error` is called at most once, on a writer thread.
  FileWriter(size_t threads, HasherFactory make_hasher, std::function<void()> on_error);
  // Drops what is not written, ends the threads.
  ~FileWriter();

  // Begins file `id`. `replaces`: something may be at its place, so it is written beside and moved.
  void Open(uint32_t id, const Entry& entry, Destination::Place place, bool replaces);
  void Append(uint32_t id, std::string data);
  void Close(uint32_t id);

  // Waits for everything. The digest of every file by id, in no order.
  Result<std::vector<std::pair<uint32_t, Digest>>> Finish();
  // Also right after the construction: there was no thread to be had.
  std::optional<Error> error() const EXCLUDES(error_mutex_);

 private:
  struct File;
  struct Task {
    std::shared_ptr<File> file;
    std::string data;
    bool last = false;
  };
  struct Lane {
    Mutex mutex;
    CondVar changed;
    std::deque<Task> tasks GUARDED_BY(mutex);
    size_t bytes GUARDED_BY(mutex) = 0;
    bool stopping GUARDED_BY(mutex) = false;
    std::vector<std::pair<uint32_t, Digest>> digests;  // its thread's, until that has ended
    std::thread thread;
  };

  void Post(Lane& lane, Task task);
  void Work(Lane& lane);
  Status Write(Lane& lane, Task& task);
  void Fail(Error error) EXCLUDES(error_mutex_);
  void Stop(bool drop);

  HasherFactory make_hasher_;
  std::function<void()> on_error_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unordered_map<uint32_t, std::shared_ptr<File>> open_;
  mutable Mutex error_mutex_;
  std::optional<Error> error_ GUARDED_BY(error_mutex_);
};

}  // namespace kiln::filesync
