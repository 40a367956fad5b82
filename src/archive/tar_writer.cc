#include <algorithm>
#include <array>
#include <cstring>

#include "archive/tar.h"
#include "base/fd.h"
#include "base/strings.h"

namespace kiln::archive {
namespace {

constexpr size_t kBlockBytes = 512;
constexpr size_t kNameBytes = 100;
constexpr size_t kPrefixBytes = 155;

// POSIX.1-1988 header block (IEEE Std 1003.1, pax, "ustar Interchange Format").
struct UstarHeader {
  char name[kNameBytes];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link[kNameBytes];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char device_major[8];
  char device_minor[8];
  char prefix[kPrefixBytes];
  char padding[12];
};
static_assert(sizeof(UstarHeader) == kBlockBytes);

using PaxRecords = std::map<std::string, std::string>;

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0; });
}

std::string ToAscii(std::string_view text) {
  std::string ascii;
  for (char c : text) {
    if (c > 0) ascii.push_back(c);
  }
  return ascii;
}

// Whether a number fits a NUL-terminated octal field.
bool FitsOctal(size_t field_bytes, int64_t value) {
  return value >= 0 && value < int64_t{1} << (3 * (field_bytes - 1));
}

// Zero-padded octal and NUL; 0 if it does not fit (a PAX record then holds the value).
template <size_t N>
void PutOctal(char (&field)[N], int64_t value) {
  uint64_t rest = FitsOctal(N, value) ? static_cast<uint64_t>(value) : 0;
  field[N - 1] = '\0';
  for (size_t i = N - 1; i-- > 0; rest >>= 3) field[i] = static_cast<char>('0' + (rest & 7));
}

// Cut where too long; a cut that leaves a trailing '/' would make a directory of a file for old
// readers.
template <size_t N>
void PutString(char (&field)[N], std::string_view text) {
  text.copy(field, N);
  if (text.size() > N && field[N - 1] == '/') {
    size_t end = N - 1;
    while (end > 0 && field[end - 1] == '/') --end;
    field[end] = '\0';
  }
}

char TypeFlag(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return '0';
    case EntryType::kHardlink:
      return '1';
    case EntryType::kSymlink:
      return '2';
    case EntryType::kCharDevice:
      return '3';
    case EntryType::kBlockDevice:
      return '4';
    case EntryType::kDirectory:
      return '5';
    case EntryType::kFifo:
      return '6';
  }
  return '0';
}

void Seal(UstarHeader& header) {
  std::memcpy(header.magic, "ustar", 6);
  std::memcpy(header.version, "00", 2);
  std::memset(header.checksum, ' ', sizeof header.checksum);
  uint32_t sum = 0;
  for (auto byte : reinterpret_cast<const unsigned char(&)[kBlockBytes]>(header)) sum += byte;
  char digits[7];
  PutOctal(digits, sum);
  std::memcpy(header.checksum, digits, sizeof digits);
}

// Splits a long path at a '/' into USTAR's prefix and name.
std::optional<std::pair<std::string_view, std::string_view>> SplitPath(std::string_view path) {
  if (path.size() <= kNameBytes || !IsAscii(path)) return std::nullopt;
  size_t limit = path.size();
  if (limit > kPrefixBytes + 1) {
    limit = kPrefixBytes + 1;
  } else if (path.back() == '/') {
    --limit;
  }
  size_t slash = path.substr(0, limit).rfind('/');
  if (slash == std::string_view::npos || slash == 0) return std::nullopt;
  auto name = path.substr(slash + 1);
  if (name.empty() || name.size() > kNameBytes) return std::nullopt;
  return std::pair{path.substr(0, slash), name};
}

// "<length> <key>=<value>\n", where the length counts itself.
std::string PaxRecord(const std::string& key, const std::string& value) {
  size_t bare = key.size() + value.size() + 3;
  size_t size = bare + std::to_string(bare).size();
  if (bare + std::to_string(size).size() != size) size = bare + std::to_string(size).size();
  return std::to_string(size) + " " + key + "=" + value + "\n";
}

// What of an entry USTAR cannot hold. `needed` is set if there is anything; records are filled
// either way (a splittable long path counts only if something else needs PAX).
PaxRecords NeededRecords(const TarEntry& entry, const std::string& name, int64_t size,
                         int64_t mtime, bool* needed) {
  PaxRecords records;
  *needed = false;
  auto number = [&](const char* key, size_t field_bytes, int64_t value) {
    if (FitsOctal(field_bytes, value)) return;
    records[key] = std::to_string(value);
    *needed = true;
  };
  number("uid", 8, entry.uid);
  number("gid", 8, entry.gid);
  number("size", 12, size);
  number("mtime", 12, mtime);
  if (!IsAscii(name) || name.size() > kNameBytes) {
    records["path"] = name;
    *needed = *needed || !SplitPath(name);
  }
  if (!IsAscii(entry.link) || entry.link.size() > kNameBytes) {
    records["linkpath"] = entry.link;
    *needed = true;
  }
  for (const auto& [key, value] : entry.xattrs) {
    records["SCHILY.xattr." + key] = value;
    *needed = true;
  }
  return records;
}

std::string_view Bytes(const UstarHeader& header) {
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

std::string_view Zeros(size_t count) {
  static constexpr std::array<char, 2 * kBlockBytes> kZeros{};
  return {kZeros.data(), count};
}

int64_t PaddingOf(int64_t size) { return -size & static_cast<int64_t>(kBlockBytes - 1); }

Status WritePaxHeader(ByteSink& out, const std::string& name, const PaxRecords& records) {
  std::string data;
  for (const auto& [key, value] : records) data += PaxRecord(key, value);
  size_t slash = name.rfind('/');
  std::string dir = slash == std::string::npos ? "" : name.substr(0, slash + 1);
  std::string base = slash == std::string::npos ? name : name.substr(slash + 1);
  std::string header_name =
      ToAscii(JoinPath(JoinPath(dir, "PaxHeaders.0"), base)).substr(0, kNameBytes);
  while (header_name.ends_with('/')) header_name.pop_back();
  UstarHeader header{};
  PutString(header.name, header_name);
  PutOctal(header.mode, 0);
  PutOctal(header.uid, 0);
  PutOctal(header.gid, 0);
  PutOctal(header.size, static_cast<int64_t>(data.size()));
  PutOctal(header.mtime, 0);
  header.type = 'x';
  Seal(header);
  TRY(out.Write(Bytes(header)));
  data.append(static_cast<size_t>(PaddingOf(static_cast<int64_t>(data.size()))), '\0');
  return out.Write(data);
}

}  // namespace

Status TarWriter::Add(const TarEntry& entry) {
  if (data_left_ != 0)
    return Internal("tar: {} bytes of the previous file are missing", data_left_);
  TRY(PadEntry());
  return WriteHeaders(entry);
}

Status TarWriter::WriteHeaders(const TarEntry& entry) {
  bool device = entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice;
  if (device && (!FitsOctal(8, entry.device_major) || !FitsOctal(8, entry.device_minor))) {
    return InvalidArgument("tar: device number of {} is too large", Quoted(entry.path));
  }
  std::string name = entry.type == EntryType::kDirectory ? entry.path + "/" : entry.path;
  int64_t size = entry.type == EntryType::kFile ? entry.size : 0;
  int64_t mtime = SecondsOf(entry.mtime);
  bool pax = false;
  PaxRecords records = NeededRecords(entry, name, size, mtime, &pax);
  if (pax) TRY(WritePaxHeader(out_, name, records));

  UstarHeader header{};
  if (auto split = SplitPath(name); split && !pax) {
    PutString(header.prefix, split->first);
    PutString(header.name, split->second);
  } else {
    PutString(header.name, pax ? ToAscii(name) : name);
  }
  PutOctal(header.mode, entry.mode);
  PutOctal(header.uid, entry.uid);
  PutOctal(header.gid, entry.gid);
  PutOctal(header.size, size);
  PutOctal(header.mtime, mtime);
  header.type = TypeFlag(entry.type);
  PutString(header.link, pax ? ToAscii(entry.link) : entry.link);
  PutOctal(header.device_major, device ? entry.device_major : 0);
  PutOctal(header.device_minor, device ? entry.device_minor : 0);
  Seal(header);
  data_left_ = size;
  padding_ = PaddingOf(size);
  return out_.Write(Bytes(header));
}

int64_t TarWriter::SecondsOf(WallTime time) const {
  if (latest_) time = std::min(time, *latest_);
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

Status TarWriter::WriteData(std::string_view data) {
  if (static_cast<int64_t>(data.size()) > data_left_) {
    return Internal("tar: {} bytes more than the file's size",
                    static_cast<int64_t>(data.size()) - data_left_);
  }
  data_left_ -= static_cast<int64_t>(data.size());
  return out_.Write(data);
}

Status TarWriter::AddFile(const TarEntry& entry, int fd) {
  TRY(Add(entry));
  std::array<char, 128 << 10> buffer;
  while (data_left_ > 0) {
    size_t want = std::min(buffer.size(), static_cast<size_t>(data_left_));
    TRY_ASSIGN_CTX(size_t count, ReadSome(fd, buffer.data(), want), "read {}", entry.path);
    if (count == 0) {
      return DataLoss("{} is {} bytes shorter than its size says", Quoted(entry.path), data_left_);
    }
    TRY(WriteData({buffer.data(), count}));
  }
  return OkStatus();
}

Status TarWriter::PadEntry() {
  auto padding = static_cast<size_t>(std::exchange(padding_, 0));
  return padding == 0 ? OkStatus() : out_.Write(Zeros(padding));
}

Status TarWriter::Finish() {
  if (data_left_ != 0) return Internal("tar: {} bytes of the last file are missing", data_left_);
  TRY(PadEntry());
  return out_.Write(Zeros(2 * kBlockBytes));
}

}  // namespace kiln::archive
