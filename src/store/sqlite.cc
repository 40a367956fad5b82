#include "store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstring>

#include "base/log.h"
#include "base/thread.h"
#include "store/large_cache.h"

namespace kiln::store {
namespace {

constexpr int kBusyMillis = 10'000;
constexpr size_t kMaxBatch = 256;

Error SqliteError(sqlite3* db, std::string_view what) {
  const int code = sqlite3_extended_errcode(db);
  const std::string message = fmt::format("database: {}: {}", what, sqlite3_errmsg(db));
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLoss("{}", message);
    case SQLITE_FULL:
      return ResourceExhausted("{}", message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Unavailable("{}", message);
    case SQLITE_CONSTRAINT:
      return AlreadyExists("{}", message);
    default:
      return Internal("{}", message);
  }
}

// Of the disk or the machine, not of what was asked.
bool IsTrouble(const Error& error) {
  return error.code() == Code::kResourceExhausted || error.code() == Code::kInternal ||
         error.code() == Code::kDataLoss;
}

}  // namespace

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path) {
  sqlite3* db = nullptr;
  const int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  const int opened = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  if (db == nullptr) return ResourceExhausted("database {}: out of memory", path);
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(db));
  if (opened != SQLITE_OK) return std::move(SqliteError(db, "open").AddContext(path));
  sqlite3_busy_timeout(db, kBusyMillis);
  // Closing must not wait for the disk: what is in the WAL is read at the next start.
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // NORMAL: the WAL is synced before a checkpoint, never per commit.
  TRY_CTX(connection->Exec(
              "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=OFF; "
              "PRAGMA temp_store=MEMORY;"),
          "{}", path);
  TRY_CTX(connection->Exec(kUsualCache), "{}", path);
  return connection;
}

SqliteConnection::~SqliteConnection() {
  for (auto& [sql, statement] : cache_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

Status SqliteConnection::Exec(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return SqliteError(db_, sql.substr(0, 80));
  return OkStatus();
}

Status SqliteConnection::Migrate(std::span<const std::string_view> migrations) {
  int64_t version = 0;
  {
    TRY_ASSIGN(SqliteStatement query, Prepare("PRAGMA user_version"));
    TRY_ASSIGN(const bool row, query.Step());
    if (row) version = query.Int(0);
  }
  if (version > static_cast<int64_t>(migrations.size())) {
    return FailedPrecondition("database: version {} is newer than this program's {}", version,
                              migrations.size());
  }
  for (auto next = static_cast<size_t>(version); next < migrations.size(); ++next) {
    auto status = Exec(fmt::format("BEGIN IMMEDIATE;{};PRAGMA user_version={};COMMIT;",
                                   migrations[next], next + 1));
    if (!status.ok()) {
      (void)Exec("ROLLBACK");
      return status;
    }
  }
  return OkStatus();
}

Result<SqliteStatement> SqliteConnection::Prepare(std::string_view sql) {
  auto cached = cache_.find(sql);
  if (cached == cache_.end()) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                           &statement, nullptr) != SQLITE_OK) {
      return SqliteError(db_, sql);
    }
    cached = cache_.emplace(sql, statement).first;
  }
  return SqliteStatement(db_, cached->second);
}

bool SqliteConnection::InTransaction() const { return sqlite3_get_autocommit(db_) == 0; }

int64_t SqliteConnection::changes() const { return sqlite3_changes64(db_); }

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : db_(other.db_),
      statement_(std::exchange(other.statement_, nullptr)),
      bound_(other.bound_),
      bind_error_(other.bind_error_) {}

SqliteStatement::~SqliteStatement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

SqliteStatement& SqliteStatement::Bind(int64_t value) {
  bind_error_ |= sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

SqliteStatement& SqliteStatement::Bind(std::string_view text) {
  const char* data = text.data() == nullptr ? "" : text.data();
  bind_error_ |=
      sqlite3_bind_text64(statement_, ++bound_, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(std::string_view bytes) {
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  bind_error_ |= sqlite3_bind_blob64(statement_, ++bound_, data, bytes.size(), SQLITE_TRANSIENT);
  return *this;
}

SqliteStatement& SqliteStatement::Bind(const Digest& digest) {
  if (digest.empty()) return BindNull();
  return BindBlob({reinterpret_cast<const char*>(digest.bytes().data()), Digest::kBytes});
}

SqliteStatement& SqliteStatement::BindNull() {
  bind_error_ |= sqlite3_bind_null(statement_, ++bound_);
  return *this;
}

Result<bool> SqliteStatement::Step() {
  if (bind_error_ != 0) return Internal("database: cannot bind: {}", sqlite3_sql(statement_));
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteError(db_, sqlite3_sql(statement_));
}

Status SqliteStatement::Run() {
  while (true) {
    TRY_ASSIGN(const bool row, Step());
    if (!row) return OkStatus();
  }
}

bool SqliteStatement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}
int64_t SqliteStatement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string SqliteStatement::Text(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

Digest SqliteStatement::DigestAt(int column) const {
  const std::string bytes = Text(column);
  if (bytes.size() != Digest::kBytes) return Digest();
  std::array<uint8_t, Digest::kBytes> value;
  std::memcpy(value.data(), bytes.data(), value.size());
  return Digest(value);
}

Result<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                 std::span<const std::string_view> migrations) {
  TRY_ASSIGN(std::unique_ptr<SqliteConnection> writer, SqliteConnection::Open(path));
  TRY_CTX(writer->Migrate(migrations), "{}", path);
  TRY_ASSIGN(std::unique_ptr<SqliteConnection> reader, SqliteConnection::Open(path));
  std::unique_ptr<Database> database(new Database(std::move(writer), std::move(reader), path));
  TRY_ASSIGN(database->thread_, StartThread("database", [at = database.get()] { at->Run(); }));
  return database;
}

Database::Database(std::unique_ptr<SqliteConnection> writer,
                   std::unique_ptr<SqliteConnection> reader, std::string path)
    : path_(std::move(path)), writer_(std::move(writer)), reader_(std::move(reader)) {}

Database::~Database() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  reader_.reset();
  scanner_.reset();
}

Status Database::Write(Work work) {
  auto item = std::make_shared<Item>();
  item->work = std::move(work);
  MutexLock lock(mutex_);
  queue_.push_back(item);
  changed_.NotifyAll();
  while (!item->result) changed_.Wait(lock);
  return std::move(*item->result);
}

void Database::WriteLater(Work work) {
  auto item = std::make_shared<Item>();
  item->work = std::move(work);
  item->detached = true;
  MutexLock lock(mutex_);
  queue_.push_back(std::move(item));
  changed_.NotifyAll();
}

Status Database::Read(const Work& work) {
  MutexLock lock(reader_mutex_);
  return work(*reader_);
}

Status Database::Scan(const Work& work) {
  MutexLock lock(scanner_mutex_);
  if (scanner_ == nullptr) {
    TRY_ASSIGN(scanner_, SqliteConnection::Open(path_));
  }
  return work(*scanner_);
}

size_t Database::queued() const {
  const MutexLock lock(mutex_);
  return queue_.size();
}

void Database::Run() {
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && queue_.empty()) changed_.Wait(lock);
    if (queue_.empty()) return;
    std::vector<std::shared_ptr<Item>> batch;
    while (!queue_.empty() && batch.size() < kMaxBatch) {
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    lock.Unlock();
    RunBatch(batch);
    lock.Lock();
    changed_.NotifyAll();
  }
}

// One transaction for the batch, a savepoint for each item. Results are published (under the mutex)
// after the commit.
void Database::RunBatch(const std::vector<std::shared_ptr<Item>>& batch) {
  std::vector<Status> results;
  size_t begun_at = 0;  // the first item of the transaction that is open
  Status begun = writer_->Exec("BEGIN IMMEDIATE");
  for (const auto& item : batch) {
    results.push_back(begun.ok() ? RunItem(*item) : begun);
    if (!begun.ok() || writer_->InTransaction()) continue;
    // A full disk, a failed read or want of memory may make SQLite roll all of it back.
    const Status lost = results.back().ok()
                            ? Status(Internal("database: the transaction was rolled back"))
                            : results.back();
    for (; begun_at < results.size(); ++begun_at) results[begun_at] = lost;
    begun = writer_->Exec("BEGIN IMMEDIATE");
  }
  if (begun.ok()) {
    if (Status committed = writer_->Exec("COMMIT"); !committed.ok()) {
      if (writer_->InTransaction()) (void)writer_->Exec("ROLLBACK");
      for (; begun_at < results.size(); ++begun_at) results[begun_at] = committed;
    }
  }
  MutexLock lock(mutex_);
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!results[i].ok() && IsTrouble(results[i].error())) troubled_ = true;
    if (batch[i]->detached && !results[i].ok()) LOG_WARNING("{}: {}", path_, results[i].error());
    batch[i]->result = std::move(results[i]);
    batch[i]->work = nullptr;
  }
}

Status Database::RunItem(const Item& item) {
  TRY(writer_->Exec("SAVEPOINT item"));
  Status status = item.work(*writer_);
  if (!writer_->InTransaction()) return status;
  const Status ended =
      writer_->Exec(status.ok() ? "RELEASE item" : "ROLLBACK TO item; RELEASE item");
  return status.ok() ? ended : status;
}

}  // namespace kiln::store
