#include "dockerfile/epoch.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "base/digest.h"
#include "base/strings.h"
#include "dockerfile/errors.h"
#include "dockerfile/git_ref.h"
#include "llb/source_id.h"

namespace kiln::dockerfile {
namespace {

using Seconds = std::optional<std::int64_t>;

// Beyond this, nanoseconds do not fit.
constexpr std::int64_t kMostSeconds = std::numeric_limits<std::int64_t>::max() / 1'000'000'000;

Result<llb::SourceSpec> RemoteSource(const Copy& add, const Variables& env, const LowerInput& in) {
  if (!add.inline_files.empty() || add.sources.size() != 1) {
    return Unknown("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source");
  }
  ExpandOptions options;
  options.escape = in.file.escape;
  TRY_ASSIGN(const Expanded source, Expand(add.sources[0], LookupIn(env), options));
  TRY_ASSIGN(const Expanded checksum, Expand(add.checksum, LookupIn(env), options));
  TRY_ASSIGN(auto git, ParseGitRef(source.text));
  if (git) {
    if (add.keep_git_dir.value_or(false)) git->keep_git_dir = true;
    if (!checksum.text.empty()) git->checksum = checksum.text;
    git->mtime.clear();
    return GitSpec(*git, in.options.git_advice);
  }
  if (!IsHttpUrl(source.text)) {
    return Unknown("SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD");
  }
  llb::HttpSource http;
  http.url = source.text;
  http.filename = UrlFilename(source.text);
  if (!checksum.text.empty()) {
    TRY_ASSIGN(http.checksum, ParseChecksum(checksum.text));
  }
  return llb::Format(http);
}

Result<llb::SourceSpec> SourceOfStage(const Stage& stage, const LowerInput& in, Variables env) {
  ExpandOptions options;
  options.escape = in.file.escape;
  TRY_ASSIGN(const Expanded base, Expand(stage.from.base, LookupIn(env), options));
  if (base.text != "scratch") return Unknown("SOURCE_DATE_EPOCH stage must use FROM scratch");
  env.erase(kEpochArg);
  std::optional<llb::SourceSpec> source;
  for (const Instruction& instruction : stage.instructions) {
    if (const auto* arg = std::get_if<Arg>(&instruction.body)) {
      for (const Arg::Item& item : arg->items) {
        if (const auto given = in.options.BuildArg(item.key)) {
          env[item.key] = *given;
        } else if (item.value) {
          TRY_ASSIGN(Expanded value, Expand(*item.value, LookupIn(env), options));
          env[item.key] = std::move(value.text);
        }
      }
      continue;
    }
    const auto* add = std::get_if<Copy>(&instruction.body);
    if (add == nullptr || !add->add) {
      return Unknown(
          "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported {} "
          "instruction",
          instruction.keyword);
    }
    if (source) return Unknown("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD");
    TRY_ASSIGN(source, RemoteSource(*add, env, in));
  }
  if (!source) return Unknown("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD");
  return *std::move(source);
}

}  // namespace

Result<Seconds> ResolveEpoch(const std::string& text, const LowerInput& in,
                             const Variables& globals, Externals& externals) {
  if (text.empty()) return Seconds();
  if (const auto seconds = ParseInt(text)) {
    if (*seconds > kMostSeconds || *seconds < -kMostSeconds) {
      return Unknown("invalid SOURCE_DATE_EPOCH: {}", text);
    }
    return seconds;
  }
  if (text == "context") {
    if (!in.main_source) return Seconds();
    return in.host.SourceTime(*in.main_source, "[internal] resolve main build context metadata");
  }
  TRY_ASSIGN(const External* context, externals.Context(text, in.host.build_platform()));
  if (context != nullptr) {
    if (!context->source) return Seconds();
    return in.host.SourceTime(
        *context->source, fmt::format("[internal] resolve {} named context {}", kEpochArg, text));
  }
  for (const Stage& stage : in.file.stages) {
    if (!EqualsIgnoreCase(stage.from.name, text)) continue;
    auto source = SourceOfStage(stage, in, globals);
    if (!source.ok()) return WithSource(std::move(source).error(), in.source, stage.head.lines);
    return in.host.SourceTime(
        *source, fmt::format("[internal] resolve {} source stage {}", kEpochArg, stage.from.name));
  }
  return Unknown("invalid SOURCE_DATE_EPOCH: {}", text);
}

}  // namespace kiln::dockerfile
