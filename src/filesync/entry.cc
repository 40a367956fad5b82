#include "filesync/entry.h"

#include <fsutil/types/stat.pb.h>
#include <linux/limits.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace kiln::filesync {
namespace {

constexpr uint32_t kGoDirectory = 0x80000000;
constexpr uint32_t kGoSymlink = 0x08000000;
constexpr uint32_t kGoDevice = 0x04000000;
constexpr uint32_t kGoFifo = 0x02000000;
constexpr uint32_t kGoSetuid = 0x00800000;
constexpr uint32_t kGoSetgid = 0x00400000;
constexpr uint32_t kGoChar = 0x00200000;
constexpr uint32_t kGoSticky = 0x00100000;
constexpr uint32_t kGoIrregular = 0x00080000;
constexpr uint32_t kPermissions = 0777;

constexpr std::string_view kListingMagic = "kiln-listing 1\n";
constexpr int64_t kMaxDevice = 0xffffffff;

// Extended attributes with a meaning for overlayfs would change the tree when it becomes a layer.
bool IsForbiddenXattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}

Result<uint32_t> DeviceNumber(int64_t number, const std::string& path) {
  if (number < 0 || number > kMaxDevice)
    return InvalidArgument("bad device number of {}", Quoted(path));
  return static_cast<uint32_t>(number);
}

}  // namespace

int ComparePaths(std::string_view a, std::string_view b) {
  const size_t common = std::min(a.size(), b.size());
  const auto [x, y] =
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(common), b.begin());
  if (x == a.begin() + static_cast<ptrdiff_t>(common)) {
    return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
  }
  const int left = *x == '/' ? 0 : static_cast<unsigned char>(*x);
  const int right = *y == '/' ? 0 : static_cast<unsigned char>(*y);
  return left - right;
}

Status ValidatePath(std::string_view path) {
  if (path.empty() || path.size() >= PATH_MAX) return InvalidArgument("bad path {}", Quoted(path));
  if (path.find('\0') != std::string_view::npos)
    return InvalidArgument("bad path {}", Quoted(path));
  size_t begin = 0;
  while (true) {
    size_t end = path.find('/', begin);
    if (end == std::string_view::npos) end = path.size();
    const std::string_view component = path.substr(begin, end - begin);
    if (component.empty() || component == "." || component == ".." || component.size() > NAME_MAX) {
      return InvalidArgument("bad path {}", Quoted(path));
    }
    if (end == path.size()) return OkStatus();
    begin = end + 1;
  }
}

uint32_t GoModeOf(uint32_t st_mode) {
  uint32_t mode = st_mode & kPermissions;
  if ((st_mode & S_ISUID) != 0) mode |= kGoSetuid;
  if ((st_mode & S_ISGID) != 0) mode |= kGoSetgid;
  if ((st_mode & S_ISVTX) != 0) mode |= kGoSticky;
  if (S_ISDIR(st_mode)) mode |= kGoDirectory;
  if (S_ISLNK(st_mode)) mode |= kGoSymlink;
  if (S_ISFIFO(st_mode)) mode |= kGoFifo;
  if (S_ISBLK(st_mode)) mode |= kGoDevice;
  if (S_ISCHR(st_mode)) mode |= kGoDevice | kGoChar;
  return mode;
}

Result<uint32_t> ModeFromGo(uint32_t go_mode) {
  uint32_t mode = go_mode & kPermissions;
  if ((go_mode & kGoSetuid) != 0) mode |= S_ISUID;
  if ((go_mode & kGoSetgid) != 0) mode |= S_ISGID;
  if ((go_mode & kGoSticky) != 0) mode |= S_ISVTX;
  if ((go_mode & kGoIrregular) != 0) return InvalidArgument("irregular file");
  switch (go_mode & (kGoDirectory | kGoSymlink | kGoDevice | kGoFifo)) {
    case 0:
      if ((go_mode & kGoChar) != 0) return InvalidArgument("bad file mode {:#x}", go_mode);
      return mode | S_IFREG;  // a socket (0x01000000), should one come, is an empty file
    case kGoDirectory:
      return mode | S_IFDIR;
    case kGoSymlink:
      return mode | S_IFLNK;
    case kGoFifo:
      return mode | S_IFIFO;
    case kGoDevice:
      return mode | ((go_mode & kGoChar) != 0 ? S_IFCHR : S_IFBLK);
    default:
      return InvalidArgument("bad file mode {:#x}", go_mode);
  }
}

void ToStat(const Entry& entry, fsutil::types::Stat* out) {
  out->set_path(entry.path);
  out->set_mode(GoModeOf(entry.mode));
  out->set_uid(entry.uid);
  out->set_gid(entry.gid);
  out->set_size(entry.size);
  out->set_modtime(entry.mtime_ns);
  out->set_linkname(entry.linkname);
  out->set_devmajor(entry.devmajor);
  out->set_devminor(entry.devminor);
  for (const auto& [name, value] : entry.xattrs) (*out->mutable_xattrs())[name] = value;
  out->set_changetime(entry.ctime_ns);
}

Result<Entry> FromStat(const fsutil::types::Stat& stat) {
  TRY(ValidatePath(stat.path()));
  Entry entry;
  entry.path = stat.path();
  TRY_ASSIGN_CTX(entry.mode, ModeFromGo(stat.mode()), "{}", Quoted(stat.path()));
  entry.uid = stat.uid();
  entry.gid = stat.gid();
  if (stat.size() < 0) return InvalidArgument("negative size of {}", Quoted(stat.path()));
  if (entry.IsRegular()) entry.size = stat.size();
  if (entry.IsSymlink()) entry.size = static_cast<int64_t>(stat.linkname().size());
  entry.mtime_ns = stat.modtime();
  entry.ctime_ns = stat.changetime();
  if (entry.IsSymlink() || entry.IsRegular()) {
    const std::string& link = stat.linkname();
    if (link.size() >= PATH_MAX || link.find('\0') != std::string::npos ||
        (entry.IsSymlink() && link.empty())) {
      return InvalidArgument("bad link target of {}", Quoted(stat.path()));
    }
    entry.linkname = link;
  }
  if (entry.IsDevice()) {
    TRY_ASSIGN(entry.devmajor, DeviceNumber(stat.devmajor(), entry.path));
    TRY_ASSIGN(entry.devminor, DeviceNumber(stat.devminor(), entry.path));
  }
  for (const auto& [name, value] : stat.xattrs()) {
    if (!IsForbiddenXattr(name)) entry.xattrs.emplace_back(name, value);
  }
  std::sort(entry.xattrs.begin(), entry.xattrs.end());
  return entry;
}

std::string EncodeListing(const std::vector<Entry>& entries) {
  std::string out(kListingMagic);
  fsutil::types::Stat stat;
  for (const Entry& entry : entries) {
    stat.Clear();
    ToStat(entry, &stat);
    const auto size = static_cast<uint32_t>(stat.ByteSizeLong());
    for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(size >> shift));
    stat.AppendToString(&out);
    out.append(reinterpret_cast<const char*>(entry.digest.bytes().data()), Digest::kBytes);
  }
  return out;
}

Result<std::vector<Entry>> DecodeListing(std::string_view bytes) {
  if (!bytes.starts_with(kListingMagic)) return DataLoss("not a directory listing");
  bytes.remove_prefix(kListingMagic.size());
  std::vector<Entry> entries;
  fsutil::types::Stat stat;
  while (!bytes.empty()) {
    if (bytes.size() < 4) return DataLoss("directory listing is cut short");
    uint32_t size = 0;
    for (int i = 0; i < 4; ++i)
      size |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    bytes.remove_prefix(4);
    if (bytes.size() < size || bytes.size() - size < Digest::kBytes)
      return DataLoss("directory listing is cut short");
    if (!stat.ParseFromArray(bytes.data(), static_cast<int>(size)))
      return DataLoss("damaged directory listing");
    Result<Entry> entry = FromStat(stat);
    if (!entry.ok()) return DataLoss("damaged directory listing: {}", entry.error());
    bytes.remove_prefix(size);
    std::array<uint8_t, Digest::kBytes> digest{};
    std::memcpy(digest.data(), bytes.data(), digest.size());
    entry->digest = Digest(digest);
    bytes.remove_prefix(Digest::kBytes);
    if (!entries.empty() && ComparePaths(entries.back().path, entry->path) >= 0) {
      return DataLoss("directory listing is out of order");
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

}  // namespace kiln::filesync
