#include "dockerfile/os_path.h"

#include <utility>

#include "base/strings.h"

namespace kiln::dockerfile {
namespace {

std::string CleanKeeping(std::string_view path, bool keep_slash) {
  std::string clean = CleanPath(path);
  if (keep_slash && clean.size() > 1 && path.ends_with('/')) clean += '/';
  return clean;
}

// What the end of `written` says about a directory, behind the cleaned path.
std::string WithEndOf(std::string_view written, std::string clean) {
  if (written.ends_with('/') && !clean.ends_with('/')) {
    clean += '/';
  } else if (written.ends_with("/.")) {
    if (clean != "/") clean += '/';
    clean += '.';
  }
  return clean;
}

// For Linux the path itself; for Windows cleaned, with slashes.
Result<std::string> WithoutDrive(std::string_view path, std::string_view os, bool keep_slash) {
  if (os != kWindows) return std::string(path);
  if (path.size() == 2 && path[1] == ':') {
    return Unknown("No relative path specified in {}", Quoted(path));
  }
  const std::string slashed = ToSlash(path, os);
  if (slashed.starts_with("//")) return Unknown("UNC paths are not supported");
  const auto cut = Cut(slashed, ":");
  if (!cut) return CleanKeeping(slashed, keep_slash);
  if (!EqualsIgnoreCase(cut->first, "c")) {
    return Unknown("The specified path is not on the system drive (C:)");
  }
  return CleanKeeping(cut->second, keep_slash);
}

}  // namespace

std::string ToSlash(std::string_view path, std::string_view os) {
  return os == kWindows ? ReplaceAll(path, "\\", "/") : std::string(path);
}

bool IsAbsolute(std::string_view path, std::string_view os) {
  const auto rest = WithoutDrive(path, os, /*keep_slash=*/false);
  return rest.ok() && rest->starts_with('/');
}

Result<std::string> NormalizePath(std::string_view parent, std::string_view path,
                                  std::string_view os, bool keep_slash) {
  const std::string written = ToSlash(path, os);
  TRY_ASSIGN_CTX(std::string base,
                 WithoutDrive(parent.empty() ? "/" : ToSlash(parent, os), os, keep_slash),
                 "removing drive letter");
  if (!base.starts_with('/')) base = JoinPath("/", base);
  TRY_ASSIGN_CTX(std::string out, WithoutDrive(written.empty() ? base : written, os, keep_slash),
                 "removing drive letter");
  if (!out.starts_with('/')) out = JoinPath(base, out);
  return keep_slash ? WithEndOf(written, std::move(out)) : out;
}

Result<std::string> NormalizeWorkdir(std::string_view current, std::string_view path,
                                     std::string_view os) {
  TRY_ASSIGN_CTX(std::string out, NormalizePath(current, path, os, /*keep_slash=*/false),
                 "normalizing workdir: normalizing working directory");
  return os == kWindows ? ReplaceAll(out, "/", "\\") : out;
}

Result<std::string> DestPath(std::string_view cwd, std::string_view dest, std::string_view os) {
  TRY_ASSIGN_CTX(std::string path, WithoutDrive(dest, os, /*keep_slash=*/true),
                 "removing drive letter");
  if (path.empty() || path == ".") path = "./";
  TRY_ASSIGN(path, NormalizePath(path.starts_with('/') ? "/" : cwd, path, os, /*keep_slash=*/true));
  return WithEndOf(path, CleanPath(path));
}

}  // namespace kiln::dockerfile
