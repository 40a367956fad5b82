#include "dockerfile/lint_rules.h"

#include <array>
#include <cctype>
#include <cstddef>

namespace kiln::dockerfile {
namespace {

constexpr std::array<RuleInfo, 22> kRules = {{
    {Rule::kStageNameCasing, "StageNameCasing", "Stage names should be lowercase"},
    {Rule::kFromAsCasing, "FromAsCasing",
     "The 'as' keyword should match the case of the 'from' keyword"},
    {Rule::kNoEmptyContinuation, "NoEmptyContinuation",
     "Empty continuation lines will become errors in a future release"},
    {Rule::kConsistentInstructionCasing, "ConsistentInstructionCasing",
     "All commands within the Dockerfile should use the same casing (either upper or lower)"},
    {Rule::kDuplicateStageName, "DuplicateStageName", "Stage names should be unique"},
    {Rule::kReservedStageName, "ReservedStageName",
     "Reserved words should not be used as stage names"},
    {Rule::kJsonArgsRecommended, "JSONArgsRecommended",
     "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS "
     "signals"},
    {Rule::kMaintainerDeprecated, "MaintainerDeprecated",
     "The MAINTAINER instruction is deprecated, use a label instead to define an image author"},
    {Rule::kUndefinedArgInFrom, "UndefinedArgInFrom", "FROM command must use declared ARGs"},
    {Rule::kWorkdirRelativePath, "WorkdirRelativePath",
     "Relative workdir without an absolute workdir declared within the build can have unexpected "
     "results if the base image changes"},
    {Rule::kUndefinedVar, "UndefinedVar", "Variables should be defined before their use"},
    {Rule::kMultipleInstructionsDisallowed, "MultipleInstructionsDisallowed",
     "Multiple instructions of the same type should not be used in the same stage"},
    {Rule::kLegacyKeyValueFormat, "LegacyKeyValueFormat",
     "Legacy key/value format with whitespace separator should not be used"},
    {Rule::kInvalidBaseImagePlatform, "InvalidBaseImagePlatform",
     "Base image platform does not match expected target platform", false, false},
    {Rule::kRedundantTargetPlatform, "RedundantTargetPlatform",
     "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default "
     "behavior"},
    {Rule::kSecretsUsedInArgOrEnv, "SecretsUsedInArgOrEnv",
     "Sensitive data should not be used in the ARG or ENV commands"},
    {Rule::kInvalidDefaultArgInFrom, "InvalidDefaultArgInFrom",
     "Default value for global ARG results in an empty or invalid base image name"},
    {Rule::kFromPlatformFlagConstDisallowed, "FromPlatformFlagConstDisallowed",
     "FROM --platform flag should not use a constant value"},
    {Rule::kCopyIgnoredFile, "CopyIgnoredFile",
     "Attempting to Copy file that is excluded by .dockerignore"},
    {Rule::kInvalidDefinitionDescription, "InvalidDefinitionDescription",
     "Comment for build stage or argument should follow the format: `# <arg/stage name> "
     "<description>`. If this is not intended to be a description comment, add an empty line or "
     "comment between the instruction and the comment.",
     true},
    {Rule::kExposeProtoCasing, "ExposeProtoCasing",
     "Protocol in EXPOSE instruction should be lowercase"},
    {Rule::kExposeInvalidFormat, "ExposeInvalidFormat",
     "IP address and host-port mapping should not be used in EXPOSE instruction. This will become "
     "an error in a future release"},
}};

bool IsUpper(char c) { return std::isupper(static_cast<unsigned char>(c)) != 0; }

}  // namespace

std::span<const RuleInfo> Rules() { return kRules; }

const RuleInfo& InfoOf(Rule rule) { return kRules.at(static_cast<std::size_t>(rule)); }

// "JSONArgsRecommended" → ".../json-args-recommended/".
std::string PageOf(const RuleInfo& info) {
  if (!info.has_page) return "";
  std::string page = "https://docs.docker.com/go/dockerfile/rule/";
  const std::string_view name = info.name;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool begins = IsUpper(name[i]) && i > 0 &&
                        (!IsUpper(name[i - 1]) || (i + 1 < name.size() && !IsUpper(name[i + 1])));
    if (begins) page += '-';
    page += static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
  }
  return page + "/";
}

}  // namespace kiln::dockerfile
