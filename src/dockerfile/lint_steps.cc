// Build checks that need the state of a stage: variables, working directory, what was said before.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>
#include <variant>

#include "base/glob.h"
#include "base/lists.h"
#include "base/strings.h"
#include "dockerfile/git_ref.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/lint.h"
#include "dockerfile/lower_stage.h"
#include "dockerfile/mount.h"

namespace kiln::dockerfile {
namespace {

constexpr std::array<std::string_view, 10> kSecretWords = {
    "apikey",   "auth",   "credential", "credentials", "key",
    "password", "passwd", "pword",      "secret",      "token"};
constexpr std::array<std::string_view, 3> kHarmlessWords = {"public", "file", "version"};
// Patterns that leave nothing of a context's root.
constexpr std::array<std::string_view, 3> kEverything = {"*", "**", "**/*"};

bool NamesSecret(std::string_view key) {
  const std::string lower = ToLower(key);
  bool secret = false;
  for (const std::string_view word : Split(lower, '_')) {
    if (Contains(kHarmlessWords, word)) return false;
    secret = secret || Contains(kSecretWords, word);
  }
  return secret;
}

bool IsAbsolute(std::string_view path, const std::string& os) {
  if (os != "windows") return path.starts_with('/');
  return path.starts_with('/') || path.starts_with('\\') ||
         (path.size() > 2 && std::isalpha(static_cast<unsigned char>(path[0])) != 0 &&
          path[1] == ':' && (path[2] == '/' || path[2] == '\\'));
}

std::vector<std::string> NamesOf(const EnvList& env) {
  std::vector<std::string> names = env.ToStrings();
  for (std::string& name : names) name.resize(std::min(name.find('='), name.size()));
  return names;
}

}  // namespace

void Linter::SetIgnored(const std::vector<std::string>& patterns) {
  ignored_ = patterns;
  auto matcher = PatternMatcher::Create(patterns);
  matcher_.reset();
  if (!matcher.ok() || matcher->empty()) return;
  matcher_ = std::make_unique<PatternMatcher>(std::move(matcher).value());
}

void Linter::OnImage(const std::string& name, LineRange lines, const oci::Platform& expected,
                     const oci::Platform& found) {
  if (expected.os == found.os && expected.architecture == found.architecture) return;
  Report(Rule::kInvalidBaseImagePlatform, lines,
         fmt::format("Base image {} was pulled with platform {}, expected {} for current build",
                     name, Quoted(oci::FormatAll(oci::Normalize(found))),
                     Quoted(oci::FormatAll(oci::Normalize(expected)))));
}

void Linter::OnStage(const Stage& stage, int base) {
  StageChecks checks;
  checks.unknown_base = unknown_images_ && stage.from.base != "scratch";
  if (base >= 0) {
    checks.workdir_set = stages_[base].workdir_set;
    checks.unknown_base = stages_[base].unknown_base;
  }
  stages_[stage.index] = checks;
}

void Linter::Before(const Instruction& instruction, LineRange lines, const StageState& state) {
  const Step step{instruction, lines, state, stages_[state.index]};
  std::visit([&](const auto& body) { Check(step, body); }, instruction.body);
}

// Expands one word and reports what is not defined. An error is the conversion's to report.
Result<std::string> Linter::Word(const Step& step, std::string_view text) {
  ExpandOptions options;
  options.escape = escape_;
  return Word(step, text, options);
}

Result<std::string> Linter::Word(const Step& step, std::string_view text,
                                 const ExpandOptions& options) {
  // Counted here: of a word that fails nothing else is known. Told word by word, as upstream, whose
  // order within one word is another one each time.
  std::set<std::string> missing;
  const VariableLookup lookup = [&](std::string_view name) {
    const auto value = step.state.env.Get(name);
    if (!value) missing.emplace(name);
    return value;
  };
  auto expanded = Expand(text, lookup, options);
  ReportUndefined(step, missing);
  if (!expanded.ok()) return std::move(expanded).error();
  return std::move(expanded->text);
}

// False as soon as one does not expand.
bool Linter::Words(const Step& step, const std::vector<std::string>& texts,
                   std::vector<std::string>* out) {
  for (const std::string& text : texts) {
    auto word = Word(step, text);
    if (!word.ok()) return false;
    if (out != nullptr) out->push_back(std::move(word).value());
  }
  return true;
}

void Linter::ReportUndefined(const Step& step, const std::set<std::string>& missing) {
  for (const std::string& name : missing) {
    if (reported_ >= kMaxFindings) return;
    if (step.state.arg_places.contains(name) || IsScanSwitch(name)) continue;
    const std::string nearest = Nearest(name, NamesOf(step.state.env));
    if (step.checks.unknown_base && nearest.empty()) continue;
    std::string message = fmt::format("Usage of undefined variable '${}'", name);
    if (!nearest.empty()) message += fmt::format(" (did you mean ${}?)", nearest);
    Report(step, Rule::kUndefinedVar, std::move(message));
  }
}

void Linter::Check(const Step& step, const Env& env) {
  std::vector<std::string> keys;
  for (const KeyValue& pair : env.pairs) {
    if (!Words(step, {pair.key}, &keys) || !Words(step, {pair.value})) return;
  }
  for (const std::string& key : keys) {
    if (env.legacy) {
      const std::string keyword = WrittenKeyword(step.instruction);
      Report(step, Rule::kLegacyKeyValueFormat,
             fmt::format("\"{0} key=value\" should be used instead of legacy \"{0} key value\" "
                         "format",
                         keyword));
    }
    CheckSecret(step, "ENV", key);
  }
}

void Linter::Check(const Step& step, const Label& label) {
  for (const KeyValue& pair : label.pairs) {
    if (!Words(step, {pair.key, pair.value})) return;
  }
  if (!label.legacy) return;
  Report(step, Rule::kLegacyKeyValueFormat,
         fmt::format("\"{0} key=value\" should be used instead of legacy \"{0} key value\" format",
                     WrittenKeyword(step.instruction)));
}

void Linter::CheckSecret(const Step& step, std::string_view instruction, const std::string& key) {
  if (!NamesSecret(key)) return;
  Report(step, Rule::kSecretsUsedInArgOrEnv,
         fmt::format("Do not use ARG or ENV instructions for sensitive data ({} {})", instruction,
                     Quoted(key)));
}

// A default that a build argument replaces is not looked at.
void Linter::Check(const Step& step, const Arg& arg) {
  for (const Arg::Item& item : arg.items) {
    CheckSecret(step, "ARG", item.key);
    if (item.value && !build_args_.contains(item.key) && !Words(step, {*item.value})) return;
  }
}

void Linter::Check(const Step& step, const Copy& copy) {
  std::vector<std::string> sources;
  if (!Words(step, {copy.chown, copy.chmod})) return;
  for (const std::string& pattern : copy.exclude) {
    if (!Word(step, pattern, PatternOptions()).ok()) return;
  }
  if (copy.add && !Words(step, {copy.checksum})) return;
  if (!Words(step, copy.sources, &sources) || !Words(step, {copy.dest})) return;
  for (const Heredoc& heredoc : copy.inline_files) {
    if (!heredoc.expand) continue;
    const std::string text = HeredocText(heredoc);
    ExpandOptions options;
    options.literal_quotes = true;
    options.max_bytes = text.size() + kMaxExpansionBytes;
    if (!Word(step, text, options).ok()) return;
  }
  if (!copy.from.empty()) return;
  for (const std::string& source : sources) CheckIgnored(step, copy, source);
}

// Whether exceptions may bring back something of what is ignored: nobody can say that from a
// folder's name or a wildcard alone.
bool Linter::MayHoldException(const std::string& path) const {
  return path == "." || path == "/" || HasGlobMeta(path) ||
         matcher_->ExceptionCouldMatchBelow(path);
}

void Linter::CheckIgnored(const Step& step, const Copy& copy, const std::string& source) {
  if (matcher_ == nullptr || IsHttpUrl(source)) return;
  const auto git = ParseGitRef(source);
  if (!git.ok() || git->has_value()) return;
  const std::string path = CleanPath(source);
  bool ignored = false;
  if (matcher_->has_exceptions() && MayHoldException(path)) return;
  if (path == "." || path == "/") {
    ignored = std::any_of(ignored_.begin(), ignored_.end(), [](const std::string& pattern) {
      return Contains(kEverything, pattern);
    });
  } else if (!path.starts_with('/')) {
    ignored = matcher_->MatchesOrParentMatches(path);
  }
  if (!ignored) return;
  Report(step, Rule::kCopyIgnoredFile,
         fmt::format("Attempting to {} file {} that is excluded by .dockerignore",
                     copy.add ? "Add" : "Copy", Quoted(path)));
}

void Linter::Check(const Step& step, const Run& run) {
  for (const MountSpec& mount : run.mounts) {
    const auto expand = [&](std::string_view text) { return Word(step, text); };
    if (!ResolveMount(mount, expand).ok()) return;
  }
}

// Only the first of a chain of stages counts: where it is absolute, all that follow are.
void Linter::Check(const Step& step, const Workdir& workdir) {
  const auto path = Word(step, workdir.path);
  if (!path.ok()) return;
  if (!step.checks.workdir_set && !IsAbsolute(*path, step.state.platform.os)) {
    Report(step, Rule::kWorkdirRelativePath,
           fmt::format("Relative workdir {} can have unexpected results if the base image changes",
                       Quoted(*path)));
  }
  step.checks.workdir_set = true;
}

void Linter::Check(const Step& step, const User& user) { Words(step, {user.user}); }
void Linter::Check(const Step& step, const Volume& volume) { Words(step, volume.paths); }
void Linter::Check(const Step& step, const StopSignal& signal) { Words(step, {signal.signal}); }

void Linter::Check(const Step& step, const Expose& expose) {
  std::vector<std::string> written = expose.ports;
  std::sort(written.begin(), written.end());
  ExpandOptions options;
  options.escape = escape_;
  std::vector<std::string> ports;
  for (const std::string& text : written) {
    const auto expanded =
        Expand(text, [&](std::string_view name) { return step.state.env.Get(name); }, options);
    if (!expanded.ok()) return;
    ports.insert(ports.end(), expanded->words.begin(), expanded->words.end());
  }
  for (const std::string& port : ports) {
    if (!CheckPort(step, port)) return;
  }
}

// `[ip:][host:]container[/proto]`. False if it is no port at all.
bool Linter::CheckPort(const Step& step, const std::string& port) {
  const auto colon = port.rfind(':');
  const std::string container = colon == std::string::npos ? port : port.substr(colon + 1);
  const auto cut = Cut(container, "/");
  const std::string_view proto = cut ? cut->second : "";
  const std::string lower = ToLower(proto);
  const bool known = lower.empty() || lower == "tcp" || lower == "udp" || lower == "sctp";
  if (!known || container.empty() || (cut && cut->first.empty())) return false;
  if (proto != lower) {
    Report(step, Rule::kExposeProtoCasing,
           fmt::format("Defined protocol '{}' in EXPOSE instruction should be lowercase", port));
  }
  // Only colons before the port: nothing is mapped.
  if (colon != std::string::npos && port.find_first_not_of(':') < colon) {
    Report(step, Rule::kExposeInvalidFormat,
           fmt::format("EXPOSE instruction should not define an IP address or host-port mapping, "
                       "found '{}'",
                       port));
  }
  return true;
}

void Linter::Check(const Step& step, const Cmd& cmd) {
  CheckOnce(step, step.checks.cmd);
  CheckCommand(step, cmd.command);
}

void Linter::Check(const Step& step, const Entrypoint& entrypoint) {
  CheckOnce(step, step.checks.entrypoint);
  CheckCommand(step, entrypoint.command);
}

void Linter::Check(const Step& step, const Healthcheck&) {
  CheckOnce(step, step.checks.healthcheck);
}

void Linter::CheckCommand(const Step& step, const CommandText& command) {
  // Whoever configures a shell means it.
  if (!command.shell || !step.state.image.config.shell.empty()) return;
  Report(step, Rule::kJsonArgsRecommended,
         fmt::format("JSON arguments recommended for {} to prevent unintended behavior related to "
                     "OS signals",
                     WrittenKeyword(step.instruction)));
}

// The earlier of two is the one that has no effect: its lines are reported.
void Linter::CheckOnce(const Step& step, std::optional<LineRange>& earlier) {
  if (earlier) {
    Report(Rule::kMultipleInstructionsDisallowed, *earlier,
           fmt::format("Multiple {} instructions should not be used in the same stage because only "
                       "the last one will be used",
                       WrittenKeyword(step.instruction)),
           step.instruction.comments);
  }
  earlier = step.lines;
}

}  // namespace kiln::dockerfile
