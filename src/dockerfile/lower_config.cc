#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/strings.h"
#include "dockerfile/duration.h"
#include "dockerfile/epoch.h"
#include "dockerfile/lower_stage.h"
#include "dockerfile/os_path.h"
#include "dockerfile/owner.h"

namespace kiln::dockerfile {
namespace {

std::string QuotedList(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const auto& item : items) {
    if (out.size() > 1) out += ' ';
    out += Quoted(item, item.size() + 1);
  }
  return out + "]";
}

constexpr std::array<std::string_view, 36> kSignals = {
    "ABRT",   "ALRM",   "BUS",  "CHLD", "CLD",    "CONT",  "FPE",  "HUP",  "ILL",
    "INT",    "IO",     "IOT",  "KILL", "PIPE",   "POLL",  "PROF", "PWR",  "QUIT",
    "SEGV",   "STKFLT", "STOP", "SYS",  "TERM",   "TRAP",  "TSTP", "TTIN", "TTOU",
    "UNUSED", "URG",    "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN"};

bool IsRealtimeSignal(std::string_view name) {
  if (name == "RTMAX") return true;
  const bool up = name.starts_with("RTMIN+");
  if (!up && !name.starts_with("RTMAX-")) return false;
  const auto offset = ParseUint(name.substr(6));
  return offset && *offset >= 1 && *offset <= (up ? 15U : 14U);
}

bool IsSignal(std::string_view text) {
  if (const auto number = ParseInt(text)) return *number != 0;
  std::string name = ToUpper(text);
  if (name.starts_with("SIG")) name.erase(0, 3);
  return std::find(kSignals.begin(), kSignals.end(), name) != kSignals.end() ||
         IsRealtimeSignal(name);
}

struct PortRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

std::optional<PortRange> ParsePortRange(std::string_view text) {
  const auto cut = Cut(text, "-");
  const auto first = ParseUint(cut ? cut->first : text);
  const auto last = cut ? ParseUint(cut->second) : first;
  if (!first || !last || *first > *last || *last > 65535) return std::nullopt;
  return PortRange{*first, *last};
}

// `[ip:][host:]container[-end][/proto]`; only the container's side counts.
Result<std::vector<std::string>> ParsePorts(std::string_view text) {
  const auto slash = Cut(text, "/");
  const std::string proto = slash ? ToLower(slash->second) : "tcp";
  std::string_view ports = slash ? slash->first : text;
  if (proto != "tcp" && proto != "udp" && proto != "sctp") {
    return Unknown("invalid port: {}: invalid proto: {}", Quoted(text), proto);
  }
  if (const auto colon = ports.rfind(':'); colon != std::string_view::npos) {
    ports = ports.substr(colon + 1);
  }
  const auto range = ParsePortRange(ports);
  if (!range) return Unknown("invalid containerPort: {}", text);
  std::vector<std::string> out;
  for (std::uint64_t port = range->first; port <= range->last; ++port) {
    out.push_back(fmt::format("{}/{}", port, proto));
  }
  return out;
}

}  // namespace

Status StageLowering::Do(const From&) { return Internal("FROM inside a stage"); }

Status StageLowering::Do(const Env& env) {
  std::vector<KeyValue> pairs;
  std::string text = "ENV";
  for (const KeyValue& pair : env.pairs) {
    TRY_ASSIGN(std::string key, Word(pair.key));
    TRY_ASSIGN(std::string value, Word(pair.value));
    if (key.empty()) return Unknown("ENV names can not be blank");
    text += fmt::format(" {}={}", key, value);
    pairs.push_back({std::move(key), std::move(value)});
  }
  for (const KeyValue& pair : pairs) {
    state_.env.Set(pair.key, pair.value);
    SetImageEnv(pair.key, pair.value);
  }
  AddHistory(std::move(text), /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Arg& arg) {
  std::string text = "ARG";
  for (const Arg::Item& item : arg.items) {  // every item sees those before it
    Arg::Item known{item.key, std::nullopt};
    auto given = context_.options.BuildArg(item.key);
    if (given && item.key == kEpochArg) {  // what it stands for
      given = context_.epoch ? std::optional(fmt::format("{}", *context_.epoch)) : std::nullopt;
    }
    // The default of what is given counts for nothing, even if it cannot be expanded.
    if (given) {
      known.value = *given;
    } else if (item.value) {
      TRY_ASSIGN(known.value, Word(*item.value));
    } else {
      const auto global = context_.globals.find(item.key);
      if (global != context_.globals.end()) known.value = global->second;
    }
    text += known.value ? fmt::format(" {}={}", known.key, *known.value) : " " + known.key;
    if (known.value && !IsScanSwitch(known.key)) state_.env.Set(known.key, *known.value);
    const auto [place, added] = state_.arg_places.emplace(known.key, state_.distinct_args.size());
    if (added) state_.distinct_args.emplace_back();
    state_.distinct_args[place->second] = state_.args.size();
    state_.args.push_back(std::move(known));
  }
  AddHistory(std::move(text), /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Label& label) {
  std::string text = "LABEL";
  for (const KeyValue& pair : label.pairs) {
    TRY_ASSIGN(std::string key, Word(pair.key));
    TRY_ASSIGN(std::string value, Word(pair.value));
    text += fmt::format(" {}={}", key, value);
    state_.image.config.labels[key] = std::move(value);
  }
  AddHistory(std::move(text), /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const User& user) {
  TRY_ASSIGN(state_.user, Word(user.user));
  state_.image.config.user = state_.user;
  AddHistory("USER " + state_.user, /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Workdir& workdir) {
  TRY_ASSIGN(std::string path, Word(workdir.path));
  const std::string& os = state_.platform.os;
  std::string& workdir_now = state_.image.config.working_dir;
  TRY_ASSIGN(workdir_now, NormalizeWorkdir(workdir_now, path, os));
  path = ToSlash(workdir_now, os);
  state_.cwd = path;
  if (path != "/") {
    const std::string name = NextPrefix(context_, state_) + ShownText();
    llb::MkdirAction mkdir;
    mkdir.path = CleanPath(path);
    mkdir.make_parents = true;
    if (!state_.image.config.user.empty()) {
      TRY_ASSIGN(mkdir.owner, ParseOwner(state_.image.config.user));
    }
    if (context_.epoch) mkdir.timestamp_ns = *context_.epoch * 1000000000;
    llb::VertexOptions options = StepOptions(name);
    options.ignore_cache = false;
    state_.tree = llb::File(state_.tree, {std::move(mkdir)}, std::move(options));
  }
  AddHistory("WORKDIR " + path, /*layer=*/true);
  if (path == "/") state_.image.history.back().empty_layer = true;
  return OkStatus();
}

Status StageLowering::Do(const Cmd& cmd) {
  state_.image.config.cmd = Argv(cmd.command);
  state_.image.config.args_escaped = true;
  state_.cmd_seen = true;
  AddHistory("CMD " + QuotedList(state_.image.config.cmd), /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Entrypoint& entrypoint) {
  state_.image.config.entrypoint = Argv(entrypoint.command);
  if (!state_.cmd_seen) state_.image.config.cmd.clear();
  AddHistory("ENTRYPOINT " + QuotedList(state_.image.config.entrypoint), /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Healthcheck& check) {
  oci::HealthCheck out;
  if (check.none) {
    out.test = {"NONE"};
  } else {
    out.test = {check.command.shell ? "CMD-SHELL" : "CMD"};
    out.test.insert(out.test.end(), check.command.args.begin(), check.command.args.end());
  }
  out.interval_ns = check.interval_ns;
  out.timeout_ns = check.timeout_ns;
  out.start_period_ns = check.start_period_ns;
  out.start_interval_ns = check.start_interval_ns;
  out.retries = check.retries;
  std::string test;
  for (const auto& word : out.test) test += (test.empty() ? "" : " ") + word;
  AddHistory(fmt::format("HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} "
                         "StartInterval:{} Retries:{}}}",
                         test, FormatDuration(out.interval_ns), FormatDuration(out.timeout_ns),
                         FormatDuration(out.start_period_ns), FormatDuration(out.start_interval_ns),
                         out.retries),
             /*layer=*/false);
  state_.image.config.health_check = std::move(out);
  return OkStatus();
}

Status StageLowering::Do(const Expose& expose) {
  std::vector<std::string> words;
  std::vector<std::string> written = expose.ports;
  std::sort(written.begin(), written.end());  // before variables are replaced
  for (const auto& text : written) {
    TRY_ASSIGN(auto expanded, Words(text));
    words.insert(words.end(), expanded.begin(), expanded.end());
  }
  std::string shown;
  for (const auto& word : words) {
    TRY_ASSIGN(auto ports, ParsePorts(word));
    for (auto& port : ports) {
      shown += (shown.empty() ? "" : " ") + port;
      state_.image.config.exposed_ports.insert(std::move(port));
    }
  }
  AddHistory(fmt::format("EXPOSE [{}]", shown), /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Volume& volume) {
  std::string shown;
  for (const auto& text : volume.paths) {
    TRY_ASSIGN(std::string path, Word(text));
    if (path.empty()) return Unknown("VOLUME specified can not be an empty string");
    shown += (shown.empty() ? "" : " ") + path;
    state_.image.config.volumes.insert(std::move(path));
  }
  AddHistory(fmt::format("VOLUME [{}]", shown), /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const StopSignal& signal) {
  TRY_ASSIGN(std::string name, Word(signal.signal));
  if (!IsSignal(name)) return Unknown("invalid signal: {}", name);
  AddHistory("STOPSIGNAL " + name, /*layer=*/false);
  state_.image.config.stop_signal = std::move(name);
  return OkStatus();
}

Status StageLowering::Do(const Shell& shell) {
  state_.image.config.shell = shell.args;
  AddHistory("SHELL [" + Join(shell.args, " ") + "]", /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Maintainer& maintainer) {
  state_.image.author = maintainer.name;
  AddHistory("MAINTAINER " + maintainer.name, /*layer=*/false);
  return OkStatus();
}

Status StageLowering::Do(const Onbuild& onbuild) {
  state_.image.config.on_build.push_back(onbuild.trigger);
  return OkStatus();
}

}  // namespace kiln::dockerfile
