#include "ops/unpack.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "archive/compression.h"
#include "archive/filter.h"
#include "archive/room.h"
#include "archive/sparse.h"
#include "archive/tar.h"
#include "base/strings.h"

namespace kiln::ops {
namespace {

using archive::EntryType;
using archive::TarEntry;

constexpr int64_t kInMemory = 1 << 20;
constexpr size_t kBuffer = 128 << 10;
// What an inode may take on the disk beside its content.
constexpr int64_t kEntryBytes = 4096;
// So much of the disk is left, as when layers come in.
constexpr int64_t kKeptFree = 2 << 20;

// What begins as compressed data does, and as nothing else.
bool IsSurelyCompressed(std::string_view head) {
  const bool bzip2 = head.starts_with("BZh") && head.size() >= 10 &&
                     (head.substr(4, 6) == "1AY&SY" || head.substr(4, 6) == "\x17rE8P\x90");
  return bzip2 ||
         head.starts_with(std::string_view("\xfd"
                                           "7zXZ\0",
                                           6)) ||
         archive::SniffCompression(head) != archive::Compression::kNone;
}

// Remembers how what is read begins, and whether reading failed.
class WatchedSource final : public archive::ByteSource {
 public:
  explicit WatchedSource(archive::ByteSource& from) : from_(from) {}

  Result<size_t> Read(char* buffer, size_t size) override {
    auto count = from_.Read(buffer, size);
    if (!count.ok()) {
      failed_ = true;
    } else if (head_.size() < kTarBlock) {
      head_.append(buffer, std::min(*count, kTarBlock - head_.size()));
    }
    return count;
  }

  bool failed() const { return failed_; }
  // Whether there is a tar's magic where a tar has it.
  bool LooksLikeTar() const {
    return head_.size() == kTarBlock && std::string_view(head_).substr(257, 5) == "ustar";
  }

 private:
  static constexpr size_t kTarBlock = 512;
  archive::ByteSource& from_;
  bool failed_ = false;
  std::string head_;
};

// The file's bytes, decompressed by whatever its first bytes call for.
class Opened {
 public:
  explicit Opened(int fd) : file_(fd), fd_(fd) {}

  Status Open() {
    char head[16];
    const ssize_t count = pread(fd_, head, sizeof head, 0);
    if (count < 0) return ErrnoError(errno, "read");
    const std::string_view start(head, static_cast<size_t>(count));
    surely_compressed_ = IsSurelyCompressed(start);
    if (archive::SniffCompression(start) != archive::Compression::kNone) {
      TRY_ASSIGN(source_, archive::Decompress(file_, std::nullopt, archive::Behind::kIgnored));
    } else {
      TRY_ASSIGN(source_, archive::OpenFiltered(fd_));
    }
    watched_.emplace(*source_);
    return OkStatus();
  }

  archive::ByteSource& source() { return *watched_; }

  // Whether `error`, met before the first entry was read, is one of a damaged archive, or just says
  // that this is none.
  bool IsDamage(const Error& error) const {
    if (!watched_ || watched_->failed()) return surely_compressed_;
    return error.code() != Code::kDataLoss || watched_->LooksLikeTar();
  }

 private:
  archive::FdSource file_;
  int fd_;
  bool surely_compressed_ = false;
  std::unique_ptr<archive::ByteSource> source_;
  std::optional<WatchedSource> watched_;
};

class Unpacker {
 public:
  Unpacker(const UnpackRequest& request, store::LayerWriter& writer, archive::TarReader& reader)
      : request_(request),
        writer_(writer),
        reader_(reader),
        keep_free_(archive::KeepFree(writer.upper().fd(), kKeptFree)),
        room_(keep_free_) {}

  Status Run(TarEntry entry) {
    store::NodeMeta meta{.mode = 0755, .mtime = request_.mtime};
    if (request_.owner) {
      meta.uid = request_.owner->uid;
      meta.gid = request_.owner->gid;
    }
    TRY(writer_.MakeDirs(request_.dest, meta));
    TRY_ASSIGN(dest_, writer_.Resolve(request_.dest));
    bool more = true;
    while (more) {
      TRY(request_.activity.Check());
      // The archive's own root changes nothing about a destination that is there already.
      if (!entry.path.empty()) TRY_CTX(Place(entry), "unpacking {}", entry.path);
      TRY_ASSIGN(more, reader_.Next(&entry));
    }
    for (auto directory = directories_.rbegin(); directory != directories_.rend(); ++directory)
      TRY(Finish(directory->first, directory->second));
    return OkStatus();
  }

 private:
  store::NodeMeta MetaOf(const TarEntry& entry) const {
    store::NodeMeta meta{.mode = entry.mode & 07777, .mtime = entry.mtime, .xattrs = entry.xattrs};
    meta.uid = request_.owner ? request_.owner->uid : static_cast<uint32_t>(entry.uid);
    meta.gid = request_.owner ? request_.owner->gid : static_cast<uint32_t>(entry.gid);
    return meta;
  }

  // A later entry may have put something else in a directory's place, or in that of one above it.
  Status Finish(const std::string& path, const store::NodeMeta& meta) {
    TRY_ASSIGN(const std::string leads_to, writer_.Resolve(path, store::Follow::kNo));
    TRY_ASSIGN(const auto found, writer_.Stat(path));
    if (leads_to != path || !found || !found->info.IsDirectory()) return OkStatus();
    return writer_.SetMeta(path, meta);
  }

  // Where the directory an entry stands in is, made if the archive never lists it. Links mean what
  // they would if the destination were the root.
  Result<std::string> ParentOf(const std::string& path) {
    const std::string parent = DirName(path);
    if (!parent_ || parent_path_ != parent) {
      parent_.reset();
      TRY_ASSIGN(const std::string real, writer_.ResolveBelow(dest_, parent));
      TRY(writer_.MakeDirs(real, {.mode = 0755}));
      TRY_ASSIGN(parent_, writer_.OpenDir(real));
      parent_path_ = parent;
    }
    return parent_->path;
  }

  // What is there gives way, unless both are directories.
  Status MakeRoom(const std::string& path, bool for_directory, bool* exists) {
    TRY_ASSIGN(auto existing, writer_.Stat(path));
    *exists = existing.has_value();
    if (!existing || (for_directory && existing->info.IsDirectory())) return OkStatus();
    *exists = false;
    parent_.reset();
    return writer_.RemoveTree(path);
  }

  Status Place(const TarEntry& entry) {
    TRY(room_.Take(kEntryBytes));
    TRY_ASSIGN(const std::string parent, ParentOf(entry.path));
    const std::string path = JoinPath(parent, BaseName(entry.path));
    bool exists = false;
    TRY(MakeRoom(path, entry.type == EntryType::kDirectory, &exists));
    store::NodeMeta meta = MetaOf(entry);
    if (entry.type == EntryType::kDirectory) {
      if (!exists) TRY(writer_.MakeDir(path, meta));
      directories_.emplace_back(path, std::move(meta));
      return OkStatus();
    }
    TRY(ParentOf(entry.path));
    store::WriterDir* dir = &*parent_;
    std::string name = BaseName(path);
    switch (entry.type) {
      case EntryType::kFile:
        return PlaceFile(entry, meta, *dir, name);
      case EntryType::kSymlink:
        return writer_.PutSymlink(*dir, name, entry.link, meta);
      case EntryType::kHardlink:
        return PlaceHardLink(entry, *dir, name);
      case EntryType::kCharDevice:
        return writer_.PutNode(*dir, name, S_IFCHR, makedev(entry.device_major, entry.device_minor),
                               meta);
      case EntryType::kBlockDevice:
        return writer_.PutNode(*dir, name, S_IFBLK, makedev(entry.device_major, entry.device_minor),
                               meta);
      case EntryType::kFifo:
        return writer_.PutNode(*dir, name, S_IFIFO, 0, meta);
      case EntryType::kDirectory:
        break;
    }
    return OkStatus();
  }

  Status PlaceFile(const TarEntry& entry, const store::NodeMeta& meta, store::WriterDir& dir,
                   const std::string& name) {
    std::vector<char> buffer(kBuffer);
    Fd spill;
    std::string data;
    if (entry.size > kInMemory) {
      TRY_ASSIGN(spill, writer_.upper().OpenFile("/", O_TMPFILE | O_RDWR, 0600));
    }
    int64_t size = 0;
    while (true) {
      TRY(request_.activity.Check());
      TRY_ASSIGN(size_t count, reader_.Read(buffer.data(), buffer.size()));
      if (count == 0) break;
      if (!archive::IsHole(entry, {buffer.data(), count}))
        TRY(room_.Take(static_cast<int64_t>(count)));
      size += static_cast<int64_t>(count);
      if (size > entry.size) return DataLoss("more data than the header says");
      if (spill) {
        TRY(archive::AppendContent(spill.get(), entry, {buffer.data(), count}, size));
      } else {
        data.append(buffer.data(), count);
      }
    }
    if (size != entry.size) return DataLoss("less data than the header says");
    if (!spill) return writer_.PutData(dir, name, data, meta);
    if (lseek(spill.get(), 0, SEEK_SET) < 0) return ErrnoError(errno, "seek");
    return writer_.PutFile(dir, name, spill.get(), static_cast<uint64_t>(size), meta);
  }

  Status PlaceHardLink(const TarEntry& entry, store::WriterDir& dir, const std::string& name) {
    TRY_ASSIGN(const std::string existing,
               writer_.ResolveBelow(dest_, entry.link, store::Follow::kNo));
    TRY_ASSIGN(auto found, writer_.Stat(existing));
    if (!found) return NotFound("hard link to {}: no such file or directory", entry.link);
    if (found->info.IsDirectory())
      return InvalidArgument("hard link to {}: is a directory", entry.link);
    if (!found->in_upper) {
      // From a layer below: brought up first, so that both names are one inode here.
      store::NodeMeta meta{.mode = found->info.mode & 07777,
                           .uid = found->info.uid,
                           .gid = found->info.gid,
                           .mtime = found->info.mtime};
      TRY_ASSIGN(meta.xattrs, writer_.Xattrs(*found));
      TRY(writer_.SetMeta(existing, meta));
    }
    return writer_.PutHardLink(dir, name, existing);
  }

  const UnpackRequest& request_;
  store::LayerWriter& writer_;
  archive::TarReader& reader_;
  const archive::RoomFunction keep_free_;
  archive::RoomTaker room_;
  std::string dest_;
  std::optional<store::WriterDir> parent_;  // of the last entry
  std::string parent_path_;                 // as the archive names it
  std::vector<std::pair<std::string, store::NodeMeta>> directories_;
};

}  // namespace

Result<bool> UnpackArchive(UnpackRequest request, store::LayerWriter& writer) {
  Opened opened(request.file.get());
  if (auto status = opened.Open(); !status.ok()) {
    if (opened.IsDamage(status.error()))
      return std::move(status.error().AddContext(fmt::format("unpacking {}", request.name)));
    return false;
  }
  archive::TarReader reader(opened.source(), {.dots_stay_inside = true});
  TarEntry first;
  auto is_tar = reader.Next(&first);
  if (!is_tar.ok() && opened.IsDamage(is_tar.error()))
    return std::move(is_tar.error().AddContext(fmt::format("unpacking {}", request.name)));
  if (!is_tar.ok() || !*is_tar) return false;
  TRY_CTX(Unpacker(request, writer, reader).Run(std::move(first)), "unpacking {}", request.name);
  // What stands behind the last entry may say that something before it is wrong: a checksum.
  TRY_CTX(archive::Drain(opened.source()), "unpacking {}", request.name);
  return true;
}

}  // namespace kiln::ops
