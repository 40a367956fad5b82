#include "dockerfile/parse_instruction.h"

#include <array>
#include <cctype>
#include <limits>
#include <unordered_map>
#include <utility>

#include "base/csv.h"
#include "base/strings.h"
#include "base/time.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/lexer.h"
#include "dockerfile/mount.h"
#include "dockerfile/parser.h"
#include "dockerfile/suggest.h"
#include "dockerfile/words.h"

namespace kiln::dockerfile {
namespace {

using Body = Result<InstructionBody>;

Error RequiresOne(const ParseInput& in) {
  return Unknown("{} requires exactly one argument", in.keyword);
}
Error RequiresSome(const ParseInput& in) {
  return Unknown("{} requires at least one argument", in.keyword);
}

// A JSON argv or the rest as one string for a shell.
Result<CommandText> ParseCommand(std::string_view text) {
  TRY_ASSIGN(auto json, ParseJsonStrings(text));
  CommandText command;
  if (json) {
    command.args = std::move(*json);
    command.shell = false;
  } else {
    command.args = {std::string(text)};
  }
  return command;
}

Result<std::vector<std::string>> ParseList(std::string_view text) {
  TRY_ASSIGN(auto json, ParseJsonStrings(text));
  if (json) return std::move(*json);
  return BlankWords(text);
}

bool IsStageName(std::string_view name) {
  if (name.empty() || name[0] < 'a' || name[0] > 'z') return false;
  for (const char c : name) {
    const bool fine =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!fine) return false;
  }
  return true;
}

Body ParseFrom(ParseInput& in) {
  const auto words = BlankWords(in.rest);
  if (words.size() != 1 && (words.size() != 3 || !EqualsIgnoreCase(words[1], "as"))) {
    return Unknown("FROM requires either one or three arguments");
  }
  From from;
  from.base = words[0];
  from.platform = in.flags.String("platform");
  if (words.size() == 3) {
    from.as_keyword = words[1];
    from.name_as_written = words[2];
    from.name = ToLower(words[2]);
    if (!IsStageName(from.name)) {
      return Unknown(
          "invalid name for build stage: {}, name can't start with a number or contain symbols",
          Quoted(words[2]));
    }
  }
  return from;
}

Status CheckOneOf(std::string_view message, std::string_view value,
                  std::initializer_list<std::string_view> allowed) {
  if (value.empty()) return OkStatus();
  for (const auto name : allowed) {
    if (value == name) return OkStatus();
  }
  return Unknown("{}", ReplaceAll(message, "{}", Quoted(value)));
}

// NAME[,required][,name=NAME]
Result<Device> ParseDevice(std::string_view text) {
  TRY_ASSIGN_CTX(const auto fields, ParseCsv(text), "failed to parse csv devices");
  Device device;
  for (const std::string& field : fields) {
    const auto cut = Cut(field, "=");
    const std::string key = ToLower(cut ? cut->first : std::string_view(field));
    if (&field == &fields.front() && (!cut || (key != "required" && key != "name"))) {
      device.name = field;
    } else if (key == "required") {
      const auto on = cut ? ParseBool(cut->second) : std::optional(true);
      if (!on) return Unknown("invalid value for required: {}", cut->second);
      device.required = *on;
    } else if (!cut) {
      return Unknown("invalid field '{}' must be a key=value pair", field);
    } else if (key == "name") {
      device.name = cut->second;
    } else {
      return Unknown("unexpected key '{}' in '{}'{}", key, field,
                     DidYouMean(key, {"name", "required"}));
    }
  }
  return device;
}

Body ParseRun(ParseInput& in) {
  Run run;
  for (const auto& text : in.flags.Strings("mount")) {
    TRY_ASSIGN(MountSpec spec, ParseMountSpec(text));
    run.mounts.push_back(std::move(spec));
  }
  run.network = in.flags.String("network");
  run.security = in.flags.String("security");
  for (const auto& text : in.flags.Strings("device")) {
    TRY_ASSIGN(Device device, ParseDevice(text));
    run.devices.push_back(std::move(device));
  }
  TRY(CheckOneOf("invalid network mode {}", run.network, {"default", "none", "host"}));
  TRY(CheckOneOf("security {} is not valid", run.security, {"sandbox", "insecure"}));
  TRY_ASSIGN(run.command, ParseCommand(in.rest));
  run.command.heredocs = std::move(in.heredocs);
  return run;
}

// Sorts the words of COPY and ADD into paths, inline files and the destination.
Status ParsePaths(ParseInput& in, Copy& copy) {
  TRY_ASSIGN(auto json, ParseJsonStrings(in.rest));
  auto words = json                  ? std::move(*json)
               : in.heredocs.empty() ? BlankWords(in.rest)
                                     : PathWords(in.rest);
  if (words.size() < 2) {
    return Unknown(
        "{} requires at least two arguments, but only one was provided. Destination could not be "
        "determined",
        in.keyword);
  }
  copy.dest = std::move(words.back());
  words.pop_back();
  if (ParseHeredocWord(copy.dest)) {
    return Unknown("{} cannot accept a heredoc as a destination", in.keyword);
  }
  // Of several documents of one name, all are the last. In an array there is none: the file is
  // empty.
  std::unordered_map<std::string_view, const Heredoc*> documents;
  for (const Heredoc& heredoc : in.heredocs) documents[heredoc.name] = &heredoc;
  for (auto& word : words) {
    if (auto heredoc = ParseHeredocWord(word)) {
      const auto document = documents.find(heredoc->name);
      if (document != documents.end()) heredoc->content = document->second->content;
      copy.inline_files.push_back(std::move(*heredoc));
    } else {
      copy.sources.push_back(std::move(word));
    }
  }
  return OkStatus();
}

Body ParseCopy(ParseInput& in) {
  Copy copy;
  copy.add = in.keyword == "ADD";
  TRY(ParsePaths(in, copy));
  copy.from = in.flags.String("from");
  copy.chown = in.flags.String("chown");
  copy.chmod = in.flags.String("chmod");
  copy.checksum = in.flags.String("checksum");
  copy.link = in.flags.Bool("link").value_or(false);
  copy.parents = in.flags.Bool("parents").value_or(false);
  copy.keep_git_dir = in.flags.Bool("keep-git-dir");
  copy.unpack = in.flags.Bool("unpack");
  copy.exclude = in.flags.Strings("exclude");
  return copy;
}

// `k=v …`, or the old `k the rest` if the first word has no '='.
Status ParsePairs(const ParseInput& in, std::vector<KeyValue>& pairs, bool& legacy) {
  const auto words = QuotedWords(in.rest, in.escape);
  if (words.empty()) return RequiresSome(in);
  if (words[0].find('=') == std::string::npos) {
    const auto end = in.rest.find_first_of(" \t\v\f\r");
    if (end == std::string::npos) return Unknown("{} must have two arguments", in.keyword);
    legacy = true;
    pairs.push_back({in.rest.substr(0, end), std::string(Trim(in.rest.substr(end)))});
    return OkStatus();
  }
  for (const auto& word : words) {
    const auto cut = Cut(word, "=");
    if (!cut) {
      return Unknown("Syntax error - can't find = in {}. Must be of the form: name=value",
                     Quoted(word));
    }
    if (cut->first.empty()) return Unknown("{} names can not be blank", in.keyword);
    pairs.push_back({std::string(cut->first), std::string(cut->second)});
  }
  return OkStatus();
}

Body ParseEnv(ParseInput& in) {
  Env env;
  TRY(ParsePairs(in, env.pairs, env.legacy));
  return env;
}

Body ParseLabel(ParseInput& in) {
  Label label;
  TRY(ParsePairs(in, label.pairs, label.legacy));
  return label;
}

Body ParseArg(ParseInput& in) {
  Arg arg;
  for (const auto& word : QuotedWords(in.rest, in.escape)) {
    const auto cut = Cut(word, "=");
    Arg::Item item{std::string(cut ? cut->first : std::string_view(word)), std::nullopt};
    if (item.key.empty()) return Unknown("ARG names can not be blank");
    if (cut) item.value = std::string(cut->second);
    arg.items.push_back(std::move(item));
  }
  if (arg.items.empty()) return RequiresSome(in);
  return arg;
}

Body ParseWorkdir(ParseInput& in) {
  if (in.rest.empty()) return RequiresOne(in);
  return Workdir{std::move(in.rest)};
}

Body ParseUser(ParseInput& in) {
  if (in.rest.empty()) return RequiresOne(in);
  return User{std::move(in.rest)};
}

Body ParseStopSignal(ParseInput& in) {
  if (in.rest.empty()) return RequiresOne(in);
  return StopSignal{std::move(in.rest)};
}

Body ParseMaintainer(ParseInput& in) {
  if (in.rest.empty()) return RequiresOne(in);
  return Maintainer{std::move(in.rest)};
}

Body ParseCmd(ParseInput& in) {
  TRY_ASSIGN(CommandText command, ParseCommand(in.rest));
  return Cmd{std::move(command)};
}

Body ParseEntrypoint(ParseInput& in) {
  TRY_ASSIGN(CommandText command, ParseCommand(in.rest));
  return Entrypoint{std::move(command)};
}

Body ParseExpose(ParseInput& in) {
  Expose expose{BlankWords(in.rest)};
  if (expose.ports.empty()) return RequiresSome(in);
  return expose;
}

Body ParseVolume(ParseInput& in) {
  TRY_ASSIGN(auto paths, ParseList(in.rest));
  if (paths.empty()) return RequiresSome(in);
  for (const auto& path : paths) {
    if (Trim(path).empty()) return Unknown("VOLUME specified can not be an empty string");
  }
  return Volume{std::move(paths)};
}

Body ParseShell(ParseInput& in) {
  if (in.rest.empty()) return RequiresSome(in);
  TRY_ASSIGN(auto json, ParseJsonStrings(in.rest));
  if (!json) return Unknown("SHELL requires the arguments to be in JSON form");
  if (json->empty()) return RequiresSome(in);
  return Shell{std::move(*json)};
}

Result<std::int64_t> DurationFlag(const ParseInput& in, std::string_view name) {
  const std::string text = in.flags.String(name);
  if (text.empty()) return 0;
  TRY_ASSIGN_CTX(const nanoseconds duration, ParseDuration(text), "time");
  const std::int64_t ns = duration.count();
  if (ns != 0 && ns < 1000000) return Unknown("Interval {} cannot be less than 1ms", Quoted(name));
  return ns;
}

Body ParseHealthcheck(ParseInput& in) {
  if (in.rest.empty()) return RequiresSome(in);
  Healthcheck check;
  const auto end = std::min(in.rest.find_first_of(" \t\v\f\r\n"), in.rest.size());
  const std::string type = ToUpper(in.rest.substr(0, end));
  const std::string rest(Trim(std::string_view(in.rest).substr(end)));
  if (type == "NONE") {
    if (!rest.empty()) return Unknown("HEALTHCHECK NONE takes no arguments");
    check.none = true;
    return check;
  }
  if (type != "CMD") {
    return Unknown("Unknown type {} in HEALTHCHECK (try CMD)", Quoted(type));
  }
  TRY_ASSIGN(check.command, ParseCommand(rest));
  if (rest.empty() || check.command.args.empty()) {
    return Unknown("Missing command after HEALTHCHECK CMD");
  }
  TRY_ASSIGN(check.interval_ns, DurationFlag(in, "interval"));
  TRY_ASSIGN(check.timeout_ns, DurationFlag(in, "timeout"));
  TRY_ASSIGN(check.start_period_ns, DurationFlag(in, "start-period"));
  TRY_ASSIGN(check.start_interval_ns, DurationFlag(in, "start-interval"));
  if (const std::string retries = in.flags.String("retries"); !retries.empty()) {
    const auto count = ParseInt(retries);
    if (!count || *count > std::numeric_limits<int>::max()) {
      return Unknown("strconv.ParseInt: parsing {}: invalid syntax", Quoted(retries));
    }
    if (*count < 0) return Unknown("--retries cannot be negative ({})", *count);
    check.retries = static_cast<int>(*count);
  }
  return check;
}

Body ParseOnbuild(ParseInput& in) {
  if (in.rest.empty()) return RequiresSome(in);
  const std::string keyword = SplitLogicalLine(in.rest, in.escape).keyword;
  if (keyword == "ONBUILD") {
    return Unknown("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  }
  if (keyword == "FROM" || keyword == "MAINTAINER") {
    return Unknown("{} isn't allowed as an ONBUILD trigger", keyword);
  }
  Onbuild onbuild{in.rest};
  for (const Heredoc& heredoc : in.heredocs) {
    onbuild.trigger += "\n" + heredoc.content + heredoc.name;
  }
  return onbuild;
}

using enum FlagKind;
constexpr std::array<FlagSpec, 1> kFromFlags = {{{"platform", kString}}};
constexpr std::array<FlagSpec, 4> kRunFlags = {
    {{"mount", kStrings}, {"network", kString}, {"security", kString}, {"device", kStrings}}};
constexpr std::array<FlagSpec, 6> kCopyFlags = {{{"from", kString},
                                                 {"chown", kString},
                                                 {"chmod", kString},
                                                 {"link", kBool},
                                                 {"parents", kBool},
                                                 {"exclude", kStrings}}};
constexpr std::array<FlagSpec, 7> kAddFlags = {{{"chown", kString},
                                                {"chmod", kString},
                                                {"link", kBool},
                                                {"keep-git-dir", kBool},
                                                {"checksum", kString},
                                                {"unpack", kBool},
                                                {"exclude", kStrings}}};
constexpr std::array<FlagSpec, 5> kHealthFlags = {{{"interval", kString},
                                                   {"timeout", kString},
                                                   {"start-period", kString},
                                                   {"start-interval", kString},
                                                   {"retries", kString}}};

constexpr std::array<InstructionSpec, 18> kSpecs = {{
    {"ADD", kAddFlags, ParseCopy},
    {"ARG", {}, ParseArg, true},
    {"CMD", {}, ParseCmd},
    {"COPY", kCopyFlags, ParseCopy},
    {"ENTRYPOINT", {}, ParseEntrypoint},
    {"ENV", {}, ParseEnv},
    {"EXPOSE", {}, ParseExpose},
    {"FROM", kFromFlags, ParseFrom},
    {"HEALTHCHECK", kHealthFlags, ParseHealthcheck},
    {"LABEL", {}, ParseLabel},
    {"MAINTAINER", {}, ParseMaintainer},
    {"ONBUILD", {}, ParseOnbuild},
    {"RUN", kRunFlags, ParseRun},
    {"SHELL", {}, ParseShell},
    {"STOPSIGNAL", {}, ParseStopSignal, true},
    {"USER", {}, ParseUser},
    {"VOLUME", {}, ParseVolume},
    {"WORKDIR", {}, ParseWorkdir},
}};

}  // namespace

std::span<const InstructionSpec> InstructionSpecs() { return kSpecs; }

const InstructionSpec* FindInstruction(std::string_view keyword) {
  for (const InstructionSpec& spec : kSpecs) {
    if (spec.keyword == keyword) return &spec;
  }
  return nullptr;
}

}  // namespace kiln::dockerfile
