#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

// Paths in images of some system: those of Windows have backslashes and drive letters.
namespace kiln::dockerfile {

inline constexpr std::string_view kWindows = "windows";

// `path` below `parent`, with slashes and without a drive letter, which can only be C. A relative
// path is joined and so cleaned; an absolute one is cleaned for Windows only. `keep_slash`: what
// the end says about a directory stays.
Result<std::string> NormalizePath(std::string_view parent, std::string_view path,
                                  std::string_view os, bool keep_slash);

// The new working directory as an image's configuration has it.
Result<std::string> NormalizeWorkdir(std::string_view current, std::string_view path,
                                     std::string_view os);

// Whether nothing needs to be joined to it: for Windows one on drive C, or on none, from its root.
bool IsAbsolute(std::string_view path, std::string_view os);

// With slashes, whatever the system's.
std::string ToSlash(std::string_view path, std::string_view os);

// Where a COPY goes: below the working directory `cwd`; a slash at the end, or nothing but the
// working directory itself, means into that directory.
Result<std::string> DestPath(std::string_view cwd, std::string_view dest, std::string_view os);

}  // namespace kiln::dockerfile
