// What there is and how much room it takes.
#include <fcntl.h>
#include <unistd.h>

#include <unordered_map>
#include <unordered_set>

#include "base/strings.h"
#include "store/collection.h"
#include "sys/file_info.h"
#include "sys/rooted_path.h"

namespace kiln::store {

namespace {

Status ReadRecords(SqliteConnection& db, std::vector<UsageRow>* rows) {
  TRY_ASSIGN(
      SqliteStatement query,
      db.Prepare("SELECT num,id,kind,parent,local,type,description,created,last_used,usage_count,"
                 "size,linked FROM records ORDER BY num"));
  while (true) {
    TRY_ASSIGN(const bool more, query.Step());
    if (!more) return OkStatus();
    UsageRow row;
    row.num = query.Int(0);
    row.record.id = query.Text(1);
    row.kind = static_cast<RecordKind>(query.Int(2));
    if (!query.IsNull(3)) row.stands_on.push_back(query.Int(3));
    row.local = query.Int(4) != 0;
    row.record.type = query.Text(5);
    row.record.description = query.Text(6);
    row.record.created = FromUnixNanos(query.Int(7));
    if (!query.IsNull(8)) row.record.last_used = FromUnixNanos(query.Int(8));
    row.record.usage_count = query.Int(9);
    if (!query.IsNull(10)) row.dir_bytes = static_cast<uint64_t>(query.Int(10));
    row.has_linked = query.Int(11) != 0;
    row.record.is_mutable = row.kind == RecordKind::kNamed;
    rows->push_back(std::move(row));
  }
}

Status ReadRelations(SqliteConnection& db, const std::unordered_map<int64_t, size_t>& at,
                     std::vector<UsageRow>* rows) {
  TRY_ASSIGN(SqliteStatement inputs,
             db.Prepare("SELECT record,input FROM record_inputs ORDER BY record,position"));
  while (true) {
    TRY_ASSIGN(const bool more, inputs.Step());
    if (!more) break;
    if (const auto found = at.find(inputs.Int(0)); found != at.end())
      (*rows)[found->second].stands_on.push_back(inputs.Int(1));
  }
  // A blob that several layers have is the oldest one's.
  TRY_ASSIGN(SqliteStatement blob_sizes,
             db.Prepare("SELECT min(l.record),b.size FROM layer_blobs l JOIN blobs b "
                        "ON b.digest=l.digest GROUP BY b.digest"));
  while (true) {
    TRY_ASSIGN(const bool more, blob_sizes.Step());
    if (!more) return OkStatus();
    const auto found = at.find(blob_sizes.Int(0));
    if (found != at.end())
      (*rows)[found->second].blob_bytes += static_cast<uint64_t>(blob_sizes.Int(1));
  }
}

}  // namespace

Result<std::vector<UsageRow>> Collection::ReadUsage() {
  std::vector<UsageRow> rows;
  std::unordered_map<int64_t, size_t> at;
  TRY(root_->database().Write(
      [](SqliteConnection&) { return OkStatus(); }));  // uses that are still in the queue count
  TRY(root_->database().Scan([&](SqliteConnection& db) -> Status {
    TRY(ReadRecords(db, &rows));
    for (size_t i = 0; i < rows.size(); ++i) at.emplace(rows[i].num, i);
    return ReadRelations(db, at, &rows);
  }));
  for (UsageRow& row : rows) {
    for (const int64_t below : row.stands_on) {
      const auto found = at.find(below);
      if (found == at.end()) continue;
      ++rows[found->second].children;
      row.record.parents.push_back(rows[found->second].record.id);
    }
  }
  std::vector<int64_t> nums;
  for (const UsageRow& row : rows) nums.push_back(row.num);
  const std::unordered_set<int64_t> held = records_->HeldOf(nums);
  for (UsageRow& row : rows) row.record.in_use = held.contains(row.num);
  return rows;
}

namespace {

// What a list of layers shows as one directory, beside the snapshot. Its links are the layers' own.
Result<uint64_t> FlatBytes(const std::string& top) {
  uint64_t bytes = 0;
  if (access(top.c_str(), F_OK) != 0) return bytes;
  TRY_ASSIGN(const Fd fd, OpenFile(top, O_RDONLY | O_DIRECTORY));
  TRY_ASSIGN(const std::vector<sys::DirEntry> entries, sys::ReadDir(fd.get()));
  for (const sys::DirEntry& entry : entries) {
    if (!entry.name.starts_with("flat-")) continue;
    TRY_ASSIGN(const sys::RootedPath flat, sys::RootedPath::Open(top + "/" + entry.name));
    TRY(sys::Walk(flat, "",
                  [&](const sys::WalkEntry& at) -> Result<sys::WalkNext> {
                    if (at.info.IsDirectory() || at.info.nlink == 1) bytes += at.info.blocks * 512;
                    return sys::WalkNext::kContinue;
                  },
                  {.max_depth = sys::kAnyDepth}));
  }
  return bytes;
}

Result<MeasuredTree> MeasureOf(const UsageRow& row, const SnapshotDirs& dirs) {
  if (row.kind == RecordKind::kNamed) return MeasureShared(dirs.fs);
  if (row.kind != RecordKind::kLayer || !row.local) return MeasuredTree();
  std::unordered_set<uint64_t> linked;
  if (auto text = ReadFile(dirs.links, size_t{1} << 30); text.ok()) {
    for (const std::string_view line : Split(*text, '\n')) {
      if (const auto inode = ParseUint(line)) linked.insert(*inode);
    }
  }
  return MeasureLayer(dirs.fs, linked);
}

// Measures a directory and notes the list of its shared files beside it.
Status MeasureRow(const Root& root, UsageRow* row) {
  const SnapshotDirs dirs = root.DirsOf(row->num);
  TRY_ASSIGN(MeasuredTree tree, MeasureOf(*row, dirs));
  TRY_ASSIGN(const uint64_t flat, FlatBytes(dirs.top));
  if (!tree.linked.empty()) TRY(WriteLinked(dirs.linked, tree.linked));
  row->has_linked = !tree.linked.empty();
  row->linked = std::move(tree.linked);
  row->dir_bytes = tree.bytes + flat;
  return OkStatus();
}

}  // namespace

// Walks what has not been measured. What is being written counts as nothing yet.
void Collection::Measure(std::vector<UsageRow>* rows) {
  for (UsageRow& row : *rows) {
    if (row.dir_bytes && row.has_linked) {
      auto linked = ReadLinked(root_->DirsOf(row.num).linked);
      if (linked.ok()) {
        row.linked = std::move(*linked);
      } else {
        row.dir_bytes.reset();
      }
    }
    if (row.dir_bytes || (row.record.is_mutable && row.record.in_use)) continue;
    row.learnt = MeasureRow(*root_, &row).ok();
  }
  // The oldest layer that has a file has its bytes; a context only those of files no layer has.
  LinkedOwners owners;
  for (const bool named : {false, true}) {
    for (UsageRow& row : *rows) {
      if ((row.kind == RecordKind::kNamed) != named) continue;
      row.record.size_bytes = row.dir_bytes.value_or(0) + row.blob_bytes + owners.Add(row.linked);
    }
  }
}

Status Collection::NoteSizes(const std::vector<UsageRow>& rows) {
  std::vector<const UsageRow*> learnt;
  for (const UsageRow& row : rows) {
    if (row.learnt) learnt.push_back(&row);
  }
  if (learnt.empty()) return OkStatus();
  return root_->database().Write([&](SqliteConnection& db) -> Status {
    for (const UsageRow* row : learnt) {
      TRY_ASSIGN(SqliteStatement update,
                 db.Prepare("UPDATE records SET size=?, linked=? WHERE num=?"));
      TRY(update.Bind(static_cast<int64_t>(*row->dir_bytes))
              .Bind(int64_t{row->has_linked})
              .Bind(row->num)
              .Run());
    }
    return OkStatus();
  });
}

}  // namespace kiln::store
