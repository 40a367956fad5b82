#pragma once

#include <span>
#include <string>
#include <string_view>

// The build checks there are: names, descriptions and pages are BuildKit's, which clients show and
// `# check=skip=…` names.
namespace kiln::dockerfile {

enum class Rule {
  kStageNameCasing,
  kFromAsCasing,
  kNoEmptyContinuation,
  kConsistentInstructionCasing,
  kDuplicateStageName,
  kReservedStageName,
  kJsonArgsRecommended,
  kMaintainerDeprecated,
  kUndefinedArgInFrom,
  kWorkdirRelativePath,
  kUndefinedVar,
  kMultipleInstructionsDisallowed,
  kLegacyKeyValueFormat,
  kInvalidBaseImagePlatform,
  kRedundantTargetPlatform,
  kSecretsUsedInArgOrEnv,
  kInvalidDefaultArgInFrom,
  kFromPlatformFlagConstDisallowed,
  kCopyIgnoredFile,
  kInvalidDefinitionDescription,
  kExposeProtoCasing,
  kExposeInvalidFormat,
};

struct RuleInfo {
  Rule rule;
  std::string_view name;  // "StageNameCasing"
  std::string_view description;
  bool experimental = false;  // off unless asked for
  bool has_page = true;
};

// In the order of the enumeration.
std::span<const RuleInfo> Rules();
const RuleInfo& InfoOf(Rule rule);
// The page that explains a rule, or "".
std::string PageOf(const RuleInfo& info);

}  // namespace kiln::dockerfile
