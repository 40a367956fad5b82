#include "ops/unpack.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "archive/compression.h"
#include "archive/filter.h"
#include "archive/sparse.h"
#include "archive/tar.h"
#include "base/strings.h"

namespace kiln::ops {
namespace {

using archive::EntryType;
using archive::TarEntry;

constexpr int64_t kInMemory = 1 << 20;
constexpr size_t kBuffer = 128 << 10;

// The file's bytes, decompressed by whatever its first bytes call for.
class Opened {
 public:
  static Result<std::unique_ptr<Opened>> Open(int fd) {
    char head[16];
    ssize_t count = pread(fd, head, sizeof head, 0);
    if (count < 0) return ErrnoError(errno, "read");
    auto opened = std::make_unique<Opened>(fd);
    std::string_view start(head, static_cast<size_t>(count));
    if (archive::SniffCompression(start) != archive::Compression::kNone) {
      TRY_ASSIGN(opened->source_, archive::Decompress(opened->file_));
    } else {
      TRY_ASSIGN(opened->source_, archive::OpenFiltered(fd));
    }
    return opened;
  }
  explicit Opened(int fd) : file_(fd) {}

  archive::ByteSource& source() { return *source_; }

 private:
  archive::FdSource file_;
  std::unique_ptr<archive::ByteSource> source_;
};

class Unpacker {
 public:
  Unpacker(const UnpackRequest& request, store::LayerWriter& writer, archive::TarReader& reader)
      : request_(request), writer_(writer), reader_(reader) {}

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
      TRY(writer_.SetMeta(directory->first, directory->second));
    return OkStatus();
  }

 private:
  store::NodeMeta MetaOf(const TarEntry& entry) const {
    store::NodeMeta meta{.mode = entry.mode & 07777, .mtime = entry.mtime, .xattrs = entry.xattrs};
    meta.uid = request_.owner ? request_.owner->uid : static_cast<uint32_t>(entry.uid);
    meta.gid = request_.owner ? request_.owner->gid : static_cast<uint32_t>(entry.gid);
    return meta;
  }

  // The directory an entry stands in, made if the archive never lists it.
  Result<store::WriterDir*> ParentOf(const std::string& path) {
    std::string parent = DirName(path);
    if (!parent_ || parent_path_ != parent) {
      parent_.reset();
      TRY(writer_.MakeDirs(parent, {.mode = 0755}));
      TRY_ASSIGN(parent_, writer_.OpenDir(parent));
      parent_path_ = parent;
    }
    return &*parent_;
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
    std::string path = JoinPath(dest_, entry.path);
    bool exists = false;
    TRY(ParentOf(path));
    TRY(MakeRoom(path, entry.type == EntryType::kDirectory, &exists));
    store::NodeMeta meta = MetaOf(entry);
    if (entry.type == EntryType::kDirectory) {
      if (!exists) TRY(writer_.MakeDir(path, meta));
      directories_.emplace_back(path, std::move(meta));
      return OkStatus();
    }
    TRY_ASSIGN(store::WriterDir * dir, ParentOf(path));
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
    TRY_ASSIGN(std::string existing,
               writer_.Resolve(JoinPath(dest_, entry.link), store::Follow::kNo));
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
  std::string dest_;
  std::optional<store::WriterDir> parent_;
  std::string parent_path_;
  std::vector<std::pair<std::string, store::NodeMeta>> directories_;
};

}  // namespace

Result<bool> UnpackArchive(UnpackRequest request, store::LayerWriter& writer) {
  auto opened = Opened::Open(request.file.get());
  if (!opened.ok()) return false;
  archive::TarReader reader((*opened)->source());
  TarEntry first;
  auto is_tar = reader.Next(&first);
  if (!is_tar.ok() || !*is_tar) return false;
  TRY_CTX(Unpacker(request, writer, reader).Run(std::move(first)), "unpacking {}", request.name);
  return true;
}

}  // namespace kiln::ops
