#include "dockerfile/globals.h"

#include <optional>
#include <utility>

#include "dockerfile/errors.h"

namespace kiln::dockerfile {
namespace {

void AddPlatform(Variables& variables, const std::string& prefix, const oci::Platform& platform) {
  variables[prefix + "PLATFORM"] = oci::FormatAll(platform);
  variables[prefix + "OS"] = platform.os;
  variables[prefix + "OSVERSION"] = platform.os_version;
  variables[prefix + "ARCH"] = platform.architecture;
  variables[prefix + "VARIANT"] = platform.variant;
}

std::string TargetStageName(const Options& options, const Dockerfile& file) {
  if (!options.target.empty()) return options.target;
  const std::string& last = file.stages.back().from.name;
  return last.empty() ? "default" : last;
}

Status Define(const Options& options, const Dockerfile& file, const Arg& arg,
              Variables& variables) {
  ExpandOptions expand;
  expand.escape = file.escape;
  // Every item sees those before it.
  for (const Arg::Item& item : arg.items) {
    if (const auto given = options.BuildArg(item.key)) {
      variables[item.key] = *given;
    } else if (item.value) {
      TRY_ASSIGN(Expanded value, Expand(*item.value, LookupIn(variables), expand));
      variables[item.key] = std::move(value.text);
    }
  }
  return OkStatus();
}

}  // namespace

VariableLookup LookupIn(const Variables& variables) {
  return [&variables](std::string_view name) -> std::optional<std::string_view> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

Variables AutomaticVariables(const Options& options, const Dockerfile& file,
                             const oci::Platform& build, const oci::Platform& target) {
  Variables variables;
  AddPlatform(variables, "BUILD", build);
  AddPlatform(variables, "TARGET", target);
  variables["TARGETSTAGE"] = TargetStageName(options, file);
  for (auto& [key, value] : variables) {
    if (auto given = options.BuildArg(key)) value = *given;
  }
  return variables;
}

Result<Variables> GlobalVariables(const Options& options, const Dockerfile& file,
                                  const SourceFile& source, Variables automatic) {
  for (const Instruction& instruction : file.global_args) {
    Status status = Define(options, file, std::get<Arg>(instruction.body), automatic);
    if (!status.ok()) return WithSource(std::move(status).error(), source, instruction.lines);
  }
  return automatic;
}

}  // namespace kiln::dockerfile
