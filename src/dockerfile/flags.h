#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::dockerfile {

enum class FlagKind { kBool, kString, kStrings };

struct FlagSpec {
  std::string_view name;
  FlagKind kind = FlagKind::kString;
};

// The flags of one instruction, checked against what it knows.
class Flags {
 public:
  static Result<Flags> Parse(std::span<const FlagSpec> specs,
                             const std::vector<std::string>& words);

  std::string String(std::string_view name) const;
  std::vector<std::string> Strings(std::string_view name) const;
  std::optional<bool> Bool(std::string_view name) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

}  // namespace kiln::dockerfile
