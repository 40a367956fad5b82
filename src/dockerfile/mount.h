#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/ast.h"

// `RUN --mount=`.
namespace kiln::dockerfile {

enum class MountType { kBind, kCache, kTmpfs, kSecret, kSsh };
enum class CacheSharing { kShared, kPrivate, kLocked };

// A mount with its values expanded and checked.
struct Mount {
  MountType type = MountType::kBind;
  std::string from;
  std::string source;
  std::string target;
  std::optional<bool> readonly;  // absent: the type's default
  std::string id;
  std::optional<std::string> env;
  CacheSharing sharing = CacheSharing::kShared;
  bool required = false;
  std::int64_t size_bytes = 0;
  std::optional<std::uint32_t> mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
};

// Splits the value of the flag and checks the keys.
Result<MountSpec> ParseMountSpec(std::string_view text);

using ExpandWord = std::function<Result<std::string>(std::string_view)>;
// Expands every value but `from` and checks what the type allows. Keys take effect in the order
// written.
Result<Mount> ResolveMount(const MountSpec& spec, const ExpandWord& expand);

}  // namespace kiln::dockerfile
