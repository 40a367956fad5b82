#include "sys/mount_info.h"

#include <sys/mount.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"

namespace kiln::sys {
namespace {

// Space, tab, newline and backslash stand as three octal digits (proc(5)).
std::string Unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  auto octal = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue": optional fields
// end at "-".
std::optional<MountInfo> ParseLine(std::string_view line) {
  std::vector<std::string_view> fields = Split(line, ' ');
  auto dash = std::find(fields.begin(), fields.end(), "-");
  if (dash - fields.begin() < 6 || fields.end() - dash < 3) return std::nullopt;
  MountInfo info;
  info.id = static_cast<int>(ParseInt(fields[0]).value_or(0));
  info.parent_id = static_cast<int>(ParseInt(fields[1]).value_or(0));
  info.root = Unescape(fields[3]);
  info.target = Unescape(fields[4]);
  info.options = std::string(fields[5]);
  info.fs_type = std::string(dash[1]);
  info.source = Unescape(dash[2]);
  if (fields.end() - dash > 3) info.super_options = std::string(dash[3]);
  return info;
}

bool IsAtOrBelow(const std::string& target, const std::string& path) {
  if (path == "/") return true;
  return target.starts_with(path) && (target.size() == path.size() || target[path.size()] == '/');
}

}  // namespace

std::vector<MountInfo> ParseMountInfo(std::string_view text) {
  std::vector<MountInfo> mounts;
  for (std::string_view line : Split(text, '\n')) {
    if (auto info = ParseLine(line)) mounts.push_back(std::move(*info));
  }
  return mounts;
}

Result<std::vector<MountInfo>> ReadMountInfo() {
  TRY_ASSIGN(const std::string text, ReadFile("/proc/self/mountinfo"));
  return ParseMountInfo(text);
}

Status UnmountBelow(const std::string& path) {
  TRY_ASSIGN(std::vector<MountInfo> mounts, ReadMountInfo());
  // Later lines were mounted later, on top of or inside earlier ones.
  for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
    if (!IsAtOrBelow(mount->target, path)) continue;
    if (umount2(mount->target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL &&
        errno != ENOENT) {
      return ErrnoError(errno, "unmount {}", mount->target);
    }
  }
  return OkStatus();
}

}  // namespace kiln::sys
