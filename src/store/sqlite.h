#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "base/mutex.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kiln::store {

class SqliteStatement;

// One connection to one SQLite file in WAL mode. One thread at a time. Committed rows survive kill
// -9; nothing is fsynced per commit.
class SqliteConnection {
 public:
  // Creates the file if it is missing. DataLoss if it is no database or damaged.
  static Result<std::unique_ptr<SqliteConnection>> Open(const std::string& path);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Brings PRAGMA user_version to migrations.size() by running what is missing, each in a
  // transaction. FailedPrecondition if the file is newer than this program knows.
  Status Migrate(std::span<const std::string_view> migrations);
  // One or several statements without results.
  Status Exec(const std::string& sql);
  // Prepared once per text, then reused; reset and unbound. Use one at a time per text.
  Result<SqliteStatement> Prepare(std::string_view sql);
  // False: none was begun, or SQLite rolled it back by itself.
  bool InTransaction() const;
  // Rows changed by the last statement.
  int64_t changes() const;

 private:
  explicit SqliteConnection(sqlite3* db) : db_(db) {}
  sqlite3* db_;
  std::map<std::string, sqlite3_stmt*, std::less<>> cache_;
};

// A statement being used; goes back to its connection when destroyed. Parameters are bound in
// order.
class SqliteStatement {
 public:
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&&) = delete;
  ~SqliteStatement();

  SqliteStatement& Bind(int64_t value);
  SqliteStatement& Bind(std::string_view text);
  SqliteStatement& BindBlob(std::string_view bytes);
  SqliteStatement& Bind(const Digest& digest);  // 32 bytes; NULL for the empty one
  SqliteStatement& BindNull();
  template <typename T>
  SqliteStatement& BindOptional(const std::optional<T>& value) {
    return value ? Bind(*value) : BindNull();
  }

  // The next row, or false at the end.
  Result<bool> Step();
  // Runs to the end, dropping rows.
  Status Run();

  bool IsNull(int column) const;
  int64_t Int(int column) const;
  std::string Text(int column) const;  // bytes of a text or blob
  Digest DigestAt(int column) const;   // empty for NULL or a foreign size

 private:
  friend class SqliteConnection;
  SqliteStatement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  sqlite3* db_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
  int bind_error_ = 0;
};

// A database with one writer thread and one reader connection. Writes are functions that run on the
// writer thread, several per transaction when they queue up; a failing one is rolled back alone.
// Safe from any thread.
class Database {
 public:
  static Result<std::unique_ptr<Database>> Open(const std::string& path,
                                                std::span<const std::string_view> migrations);
  // Finishes queued writes.
  ~Database();

  using Work = std::function<Status(SqliteConnection&)>;
  // Blocks until committed (or failed). Never call it from inside a Work.
  Status Write(Work work);
  // Queued; failures are logged.
  void WriteLater(Work work);
  // On the calling thread, one reader at a time; sees everything committed before.
  Status Read(const Work& work) EXCLUDES(reader_mutex_);
  // The same for what reads whole tables, so that others need not wait for it.
  Status Scan(const Work& work) EXCLUDES(scanner_mutex_);
  // Writes that wait for the writer.
  size_t queued() const EXCLUDES(mutex_);
  // Whether a write has failed for want of space, memory or a sound disk.
  bool troubled() const { return troubled_; }

 private:
  struct Item {
    Work work;
    std::optional<Status> result;
    bool detached = false;
  };
  Database(std::unique_ptr<SqliteConnection> writer, std::unique_ptr<SqliteConnection> reader,
           std::string path);
  void Run();
  Status RunItem(const Item& item);
  void RunBatch(const std::vector<std::shared_ptr<Item>>& batch);

  const std::string path_;
  std::unique_ptr<SqliteConnection> writer_;
  Mutex reader_mutex_;
  std::unique_ptr<SqliteConnection> reader_ PT_GUARDED_BY(reader_mutex_);
  Mutex scanner_mutex_;
  std::unique_ptr<SqliteConnection> scanner_ PT_GUARDED_BY(scanner_mutex_);  // once it is wanted
  std::atomic<bool> troubled_ = false;
  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<std::shared_ptr<Item>> queue_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace kiln::store
