#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "archive/stream.h"
#include "base/time.h"

namespace kiln::archive {

enum class EntryType { kFile, kDirectory, kSymlink, kHardlink, kCharDevice, kBlockDevice, kFifo };

// One entry of a tar. `path` is relative, '/'-separated, clean, without trailing slash; never
// empty.
struct TarEntry {
  std::string path;
  EntryType type = EntryType::kFile;
  uint32_t mode = 0;  // permission bits with setuid, setgid, sticky (07777)
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t size = 0;     // of regular files
  bool sparse = false;  // it has holes, which are read as zeros
  WallTime mtime;
  std::string link;  // target of a symlink, as written; path of a hard link's file, clean
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  std::map<std::string, std::string> xattrs;  // by full name, "security.capability"
};

// Writes a tar as Go's archive/tar does, byte for byte, so that equal trees get the diff IDs
// BuildKit gives them: USTAR where everything fits, else a PAX header with sorted records; mtime in
// whole seconds; no user or group names; two zero blocks at the end. One thread at a time.
class TarWriter {
 public:
  // With `latest`, no entry gets a later time.
  explicit TarWriter(ByteSink& out, std::optional<WallTime> latest = std::nullopt)
      : out_(out), latest_(latest) {}

  // For a file with size > 0, exactly `size` bytes of WriteData must follow.
  Status Add(const TarEntry& entry);
  Status WriteData(std::string_view data);
  // Add(entry) and its bytes from `fd`, read from the current position. DataLoss if there are fewer
  // than entry.size; more are left unread.
  Status AddFile(const TarEntry& entry, int fd);
  // InternalError if the last file is short of data.
  Status Finish();

 private:
  Status WriteHeaders(const TarEntry& entry);
  Status PadEntry();

  int64_t SecondsOf(WallTime time) const;

  ByteSink& out_;
  const std::optional<WallTime> latest_;
  int64_t data_left_ = 0;
  int64_t padding_ = 0;
};

struct TarLimits {
  int64_t max_entries = 10'000'000;
  int64_t max_path_bytes = 4096;
  int64_t max_xattr_bytes = 1 << 20;  // per entry, names and values
  // What ".." beyond the start of a name means: false, an error; true, the start, as in a chroot.
  bool dots_stay_inside = false;
};

// Reads any tar (USTAR, PAX, GNU, old V7) with libarchive; expects it uncompressed. Hostile input
// is safe to read: paths are checked and cleaned, an absolute path loses its leading slashes, one
// with ".." beyond its start is InvalidArgument unless the limits say otherwise, and so are NUL
// bytes, unknown types, negative sizes. Times before 1970-01-01T00:00:00Z or after
// 2262-04-11T23:47:16.854775807Z are the former, as for containerd and docker.
class TarReader {
 public:
  // `from` must outlive the reader.
  explicit TarReader(ByteSource& from, TarLimits limits = {});
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  // The next entry, or false at the end. What is left of the last entry's data is skipped. Entries
  // for the root itself ("./") have path "".
  Result<bool> Next(TarEntry* entry);
  // Data of the current file, 0 at its end; holes of sparse files read as zeros.
  Result<size_t> Read(char* buffer, size_t size);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whiteouts (OCI image-spec v1.1, layer.md#whiteouts).
inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kOpaqueMarker = ".wh..wh..opq";

}  // namespace kiln::archive
