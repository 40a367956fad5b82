#include "dockerfile/lower_stage.h"

#include <fmt/format.h>

#include <utility>

#include "base/strings.h"
#include "base/time.h"
#include "dockerfile/errors.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/os_path.h"
#include "dockerfile/unicode_blanks.h"
#include "dockerfile/words.h"

namespace kiln::dockerfile {
namespace {

constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::string_view kHistoryComment = "buildkit.dockerfile.v0";
constexpr int kMaxLocationLines = 1000;

// "->arm64" where the variables TARGET… say something else than the stage's own platform.
std::string TargetSuffix(const StageState& state) {
  const auto value = [&](std::string_view key) {
    return std::string(state.env.Get(key).value_or(""));
  };
  oci::Platform target = state.platform;
  if (const std::string text = value("TARGETPLATFORM"); !text.empty()) {
    auto parsed = oci::ParsePlatform(text);
    if (parsed.ok()) target = oci::Normalize(std::move(parsed).value());
  }
  if (const std::string os = value("TARGETOS"); !os.empty()) target.os = os;
  if (const std::string arch = value("TARGETARCH"); !arch.empty()) {
    if (arch != target.architecture) target.variant.clear();
    target.architecture = arch;
  }
  if (const std::string variant = value("TARGETVARIANT"); !variant.empty())
    target.variant = variant;
  target = oci::Normalize(std::move(target));
  if (oci::Format(target) == oci::Format(state.platform)) return "";
  if (target.os != state.platform.os) return "->" + oci::Format(target);
  return "->" + target.architecture + (target.variant.empty() ? "" : "/" + target.variant);
}

}  // namespace

std::vector<llb::SourceLocation> LocationsOf(std::shared_ptr<const llb::SourceFile> file,
                                             LineRange lines) {
  llb::SourceLocation location{std::move(file), {}};
  const int last = std::min(lines.last, lines.first + kMaxLocationLines - 1);
  for (int line = lines.first; line <= last; ++line) {
    location.ranges.push_back({{line, 0}, {line, 0}});
  }
  return {std::move(location)};
}

std::string NextPrefix(const LowerContext& context, StageState& state, bool with_platform) {
  if (state.steps == 0) return "";
  std::string out = "[";
  if (context.show_platform && with_platform)
    out += oci::Format(state.platform) + TargetSuffix(state) + " ";
  if (!state.display_name.empty()) out += state.display_name + " ";
  const std::string total = fmt::format("{}", state.steps);
  return out + fmt::format("{:>{}}/{}] ", ++state.step, total.size(), total);
}

Status AdoptImageConfig(StageState& state) {
  bool has_path = false;
  for (const std::string& entry : state.image.config.env) {
    const auto cut = Cut(entry, "=");
    const std::string key(cut ? cut->first : std::string_view(entry));
    state.env.Set(key, std::string(cut ? cut->second : std::string_view()));
    has_path = has_path || key == "PATH";
  }
  if (!has_path && state.platform.os != "windows") {
    state.env.Set("PATH", std::string(kDefaultPath));
    state.image.config.env.push_back(fmt::format("PATH={}", kDefaultPath));
  }
  std::string& workdir = state.image.config.working_dir;
  if (!workdir.empty()) {
    TRY_ASSIGN(workdir, NormalizeWorkdir(workdir, workdir, state.platform.os));
    state.cwd = ToSlash(workdir, state.platform.os);
  }
  state.user = state.image.config.user;
  return OkStatus();
}

Status StageLowering::Apply(const Instruction& instruction) {
  lines_ = instruction.lines;
  trigger_ = false;
  return Visit(instruction);
}

Status StageLowering::ApplyTrigger(const Instruction& instruction, LineRange from_lines) {
  lines_ = from_lines;
  trigger_ = true;
  return Visit(instruction);
}

Status StageLowering::Visit(const Instruction& instruction) {
  current_ = &instruction;
  LowerObserver* observer = context_.observer;
  if (observer != nullptr) observer->Before(instruction, lines_, state_);
  Status status = std::visit([this](const auto& body) { return Do(body); }, instruction.body);
  if (observer != nullptr && status.ok()) observer->After(instruction, lines_, state_);
  return WithSource(std::move(status), context_.source, lines_);
}

VariableLookup StageLowering::Lookup() const {
  return [this](std::string_view name) { return state_.env.Get(name); };
}

Result<std::string> StageLowering::Word(std::string_view text) const {
  ExpandOptions options;
  options.escape = context_.escape;
  TRY_ASSIGN(Expanded expanded, Expand(text, Lookup(), options));
  return std::move(expanded.text);
}

Result<std::vector<std::string>> StageLowering::Words(std::string_view text) const {
  ExpandOptions options;
  options.escape = context_.escape;
  TRY_ASSIGN(Expanded expanded, Expand(text, Lookup(), options));
  return std::move(expanded.words);
}

Result<std::string> StageLowering::Pattern(std::string_view text) const {
  TRY_ASSIGN(Expanded expanded, Expand(text, Lookup(), PatternOptions()));
  return std::move(expanded.text);
}

std::string StageLowering::ShownText() const {
  const std::string& original = current_->original;
  const auto expanded = Word(original);
  std::string text = expanded.ok() ? *expanded : original;
  return Shown(std::move(text));
}

// In upper case up to the first space, which a tab is not.
std::string StageLowering::Shown(std::string text) const {
  const std::string first = ToUpper(text.substr(0, text.find(' ')));
  text.replace(0, first.size(), first);
  return trigger_ ? "ONBUILD " + text : text;
}

std::string StageLowering::ShownRunText(const Run& run) const {
  std::vector<std::string> secret_names;
  for (const MountSpec& spec : run.mounts) {
    for (const auto& [key, value] : spec.fields) {
      if (key == "env" && value) secret_names.push_back(*value);
    }
  }
  const VariableLookup lookup = [&](std::string_view name) -> std::optional<std::string_view> {
    for (const auto& secret : secret_names) {
      if (secret == name) return "****";
    }
    return state_.env.Get(name);
  };
  ExpandOptions options;
  options.escape = context_.escape;
  options.keep_quotes = true;
  options.keep_escapes = true;
  options.keep_unset = true;
  std::string text = current_->original;
  const bool only_heredoc = run.command.heredocs.size() == 1 && run.command.args.size() == 1 &&
                            ParseHeredocWord(run.command.args[0]).has_value();
  if (only_heredoc) {
    const std::string_view body = TrimBlanks(run.command.heredocs[0].content);
    const auto end = body.find('\n');
    std::string_view first = body.substr(0, end);
    if (end != std::string_view::npos && first.ends_with('\r')) first.remove_suffix(1);
    text += fmt::format(" ({}{})", first, end == std::string_view::npos ? "" : "...");
  }
  auto expanded = Expand(text, lookup, options);
  return Shown(expanded.ok() ? std::move(expanded->text) : std::move(text));
}

llb::VertexOptions StageLowering::StepOptions(std::string name) const {
  llb::VertexOptions options;
  options.name = std::move(name);
  options.ignore_cache = state_.no_cache;
  options.locations = LocationsOf(context_.llb_source, lines_);
  return options;
}

std::vector<std::string> StageLowering::ShellArgs(const std::string& command) const {
  std::vector<std::string> args = state_.image.config.shell;
  if (args.empty()) {
    args = state_.platform.os == "windows" ? std::vector<std::string>{"cmd", "/S", "/C"}
                                           : std::vector<std::string>{"/bin/sh", "-c"};
  }
  args.push_back(command);
  return args;
}

std::vector<std::string> StageLowering::Argv(const CommandText& command) const {
  return command.shell ? ShellArgs(command.args.at(0)) : command.args;
}

void StageLowering::AddHistory(std::string created_by, bool layer) {
  oci::History entry;
  if (context_.epoch) {
    entry.created = FormatRfc3339(WallTime(std::chrono::seconds(*context_.epoch)));
  }
  entry.created_by = std::move(created_by);
  entry.comment = kHistoryComment;
  entry.empty_layer = !layer;
  state_.image.history.push_back(std::move(entry));
}

void StageLowering::SetImageEnv(const std::string& key, const std::string& value) {
  auto& env = state_.image.config.env;
  if (!image_env_known_) {
    image_env_known_ = true;
    for (std::size_t i = 0; i < env.size(); ++i) {
      image_env_.emplace(env[i].substr(0, env[i].find('=')), i);
    }
  }
  const auto [found, added] = image_env_.emplace(key, env.size());
  if (added) {
    env.push_back(key + "=" + value);
  } else {
    env[found->second] = key + "=" + value;
  }
}

}  // namespace kiln::dockerfile
