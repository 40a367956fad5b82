#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <sys/stat.h>

#include <array>
#include <optional>
#include <vector>

#include "archive/tar.h"
#include "base/strings.h"

namespace kiln::archive {
namespace {

// libarchive converts PAX's UTF-8 names by the thread's locale; the process keeps its own.
class Utf8Scope {
 public:
  Utf8Scope() : previous_(uselocale(Utf8())) {}
  ~Utf8Scope() { uselocale(previous_); }
  Utf8Scope(const Utf8Scope&) = delete;
  Utf8Scope& operator=(const Utf8Scope&) = delete;

 private:
  static locale_t Utf8() {
    static const locale_t kLocale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return kLocale;
  }
  locale_t previous_;
};

// Relative and clean; an error if it climbs out. "" for the root.
Result<std::string> CleanEntryPath(std::string_view path, std::string_view what,
                                   const TarLimits& limits) {
  if (static_cast<int64_t>(path.size()) > limits.max_path_bytes) {
    return InvalidArgument("tar: {} of {} bytes is too long", what, path.size());
  }
  if (limits.dots_stay_inside) return CleanPath(fmt::format("/{}", path)).substr(1);
  while (path.starts_with('/')) path.remove_prefix(1);
  std::string clean = CleanPath(path);
  if (clean == ".." || clean.starts_with("../")) {
    return InvalidArgument("tar: {} {} leads outside the archive", what, Quoted(path));
  }
  return clean == "." ? std::string() : clean;
}

std::optional<EntryType> TypeOf(archive_entry* entry) {
  if (archive_entry_hardlink(entry) != nullptr) return EntryType::kHardlink;
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      return EntryType::kFile;
    case AE_IFDIR:
      return EntryType::kDirectory;
    case AE_IFLNK:
      return EntryType::kSymlink;
    case AE_IFCHR:
      return EntryType::kCharDevice;
    case AE_IFBLK:
      return EntryType::kBlockDevice;
    case AE_IFIFO:
      return EntryType::kFifo;
    default:
      return std::nullopt;
  }
}

std::string_view OrEmpty(const char* text) { return text != nullptr ? text : std::string_view(); }

// What nanoseconds since 1970 in 64 bits can hold. Whatever is earlier or later unpacks as 1970.
WallTime TimeOf(int64_t seconds, int64_t nanos) {
  constexpr int64_t kSecond = 1'000'000'000;
  if (seconds < 0 || seconds > INT64_MAX / kSecond) return WallTime();
  if (seconds == INT64_MAX / kSecond && nanos > INT64_MAX % kSecond) return WallTime();
  return FromUnixNanos(seconds * kSecond + nanos);
}

// A PAX time of less than a second before 1970. libarchive drops the sign of its zero, so that it
// looks like one as long after.
constexpr std::string_view kNegativeFraction = " mtime=-0";

Status TakeDevice(archive_entry* from, TarEntry* entry) {
  const auto major = static_cast<uint64_t>(archive_entry_rdevmajor(from));
  const auto minor = static_cast<uint64_t>(archive_entry_rdevminor(from));
  if (major > UINT32_MAX || minor > UINT32_MAX) {
    return InvalidArgument("tar: device number {}:{} for {} out of range",
                           static_cast<int64_t>(major), static_cast<int64_t>(minor),
                           Quoted(entry->path));
  }
  entry->device_major = static_cast<uint32_t>(major);
  entry->device_minor = static_cast<uint32_t>(minor);
  return OkStatus();
}

Status TakeXattrs(archive_entry* from, const TarLimits& limits, TarEntry* entry) {
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  int64_t total = 0;
  archive_entry_xattr_reset(from);
  while (archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
    std::string_view key = OrEmpty(name);
    total += static_cast<int64_t>(key.size() + size);
    if (total > limits.max_xattr_bytes) {
      return InvalidArgument("tar: {} has more than {} bytes of extended attributes",
                             Quoted(entry->path), limits.max_xattr_bytes);
    }
    entry->xattrs[std::string(key)] = std::string(static_cast<const char*>(value), size);
  }
  return OkStatus();
}

}  // namespace

struct TarReader::State {
  ByteSource& from;
  TarLimits limits;
  ::archive* reader = archive_read_new();
  std::array<char, 128 << 10> buffer;
  std::optional<Error> source_error;
  int64_t entries = 0;
  int64_t bytes = 0;               // read so far
  std::string tail;                // the last of them
  std::vector<int64_t> fractions;  // where kNegativeFraction stands, from the current entry on

  State(ByteSource& source, TarLimits the_limits) : from(source), limits(the_limits) {}
  ~State() { archive_read_free(reader); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static la_ssize_t ReadBlock(::archive* reader, void* self, const void** data) {
    auto* state = static_cast<State*>(self);
    auto count = state->from.Read(state->buffer.data(), state->buffer.size());
    if (!count.ok()) {
      archive_set_error(reader, EIO, "%s", count.error().ToString().c_str());
      state->source_error = std::move(count).error();
      return -1;
    }
    state->NoteFractions({state->buffer.data(), *count});
    *data = state->buffer.data();
    return static_cast<la_ssize_t>(*count);
  }

  void NoteFractions(std::string_view data) {
    // What stands across the border of two pieces, then what stands in this one.
    const size_t most = kNegativeFraction.size() - 1;
    const int64_t border = bytes - static_cast<int64_t>(tail.size());
    tail.append(data.substr(0, most));
    Note(tail, border);
    Note(data, bytes);
    bytes += static_cast<int64_t>(data.size());
    tail = data.size() >= most ? std::string(data.substr(data.size() - most))
                               : tail.substr(tail.size() - std::min(tail.size(), most));
  }

  void Note(std::string_view text, int64_t begin) {
    for (size_t at = text.find(kNegativeFraction); at != text.npos;
         at = text.find(kNegativeFraction, at + 1)) {
      if (fractions.empty() || fractions.back() < begin + static_cast<int64_t>(at))
        fractions.push_back(begin + static_cast<int64_t>(at));
    }
  }

  // Whether the extended header of the entry just read holds one.
  bool HasNegativeFraction() {
    std::erase_if(fractions, [&](int64_t at) { return at < archive_read_header_position(reader); });
    return !fractions.empty() && fractions.front() < archive_filter_bytes(reader, 0);
  }

  // The source's own error if that is why libarchive failed.
  Error Failure() {
    if (source_error) return *source_error;
    return DataLoss("tar: {}", OrEmpty(archive_error_string(reader)));
  }
};

TarReader::TarReader(ByteSource& from, TarLimits limits)
    : state_(std::make_unique<State>(from, limits)) {
  ::archive* reader = state_->reader;
  CHECK(reader != nullptr);
  archive_read_support_format_tar(reader);
  archive_read_support_format_empty(reader);
  archive_read_set_options(reader, "hdrcharset=BINARY");
  archive_read_open2(reader, state_.get(), nullptr, &State::ReadBlock, nullptr, nullptr);
}

TarReader::~TarReader() = default;

Result<bool> TarReader::Next(TarEntry* entry) {
  Utf8Scope utf8;
  State& state = *state_;
  archive_entry* from = nullptr;
  int outcome = archive_read_next_header(state.reader, &from);
  if (outcome == ARCHIVE_EOF) return false;
  if (outcome != ARCHIVE_OK && outcome != ARCHIVE_WARN) return state.Failure();
  if (++state.entries > state.limits.max_entries) {
    return ResourceExhausted("tar: more than {} entries", state.limits.max_entries);
  }
  *entry = TarEntry();
  std::string_view name = OrEmpty(archive_entry_pathname(from));
  if (name.empty()) return InvalidArgument("tar: an entry without a name");
  TRY_ASSIGN(entry->path, CleanEntryPath(name, "path", state.limits));
  auto type = TypeOf(from);
  if (!type) return InvalidArgument("tar: {} has an unknown type", Quoted(entry->path));
  entry->type = *type;
  if (*type == EntryType::kHardlink) {
    TRY_ASSIGN(entry->link,
               CleanEntryPath(OrEmpty(archive_entry_hardlink(from)), "link target", state.limits));
  } else if (*type == EntryType::kSymlink) {
    entry->link = OrEmpty(archive_entry_symlink(from));
    if (entry->link.empty() ||
        static_cast<int64_t>(entry->link.size()) > state.limits.max_path_bytes) {
      return InvalidArgument("tar: {} is a link with an empty or too long target",
                             Quoted(entry->path));
    }
  }
  entry->mode = archive_entry_perm(from) & 07777;
  entry->uid = archive_entry_uid(from);
  entry->gid = archive_entry_gid(from);
  entry->size = *type == EntryType::kFile ? archive_entry_size(from) : 0;
  entry->sparse = *type == EntryType::kFile && archive_entry_sparse_count(from) > 0;
  if (entry->size < 0 || entry->uid < 0 || entry->gid < 0) {
    return InvalidArgument("tar: {} has a negative size or owner", Quoted(entry->path));
  }
  if (!state.HasNegativeFraction() || archive_entry_mtime(from) != 0)
    entry->mtime = TimeOf(archive_entry_mtime(from), archive_entry_mtime_nsec(from));
  if (*type == EntryType::kCharDevice || *type == EntryType::kBlockDevice) {
    TRY(TakeDevice(from, entry));
  }
  TRY(TakeXattrs(from, state.limits, entry));
  return true;
}

Result<size_t> TarReader::Read(char* buffer, size_t size) {
  la_ssize_t count = archive_read_data(state_->reader, buffer, size);
  if (count < 0) return state_->Failure();
  return static_cast<size_t>(count);
}

}  // namespace kiln::archive
