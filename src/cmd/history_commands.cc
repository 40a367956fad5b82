#include "cmd/history_commands.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "client/build.h"
#include "client/control_calls.h"
#include "client/display_model.h"
#include "client/json_display.h"
#include "client/paced_display.h"
#include "client/plain_screen.h"
#include "client/step_numbers.h"
#include "cmd/command.h"
#include "cmd/print.h"
#include "cmd/values.h"

namespace kiln::cmd {
namespace {

using client::BuildRecord;
using client::StepNumbers;

std::string Attr(const std::map<std::string, std::string>& attrs, std::string_view key) {
  auto found = attrs.find(std::string(key));
  return found != attrs.end() ? found->second : "";
}

// A name that its user gave it, an image's, or where its sources are; and the stage.
std::string NameOf(const BuildRecord& record) {
  const auto& attrs = record.frontend_attrs;
  std::string name = Attr(attrs, "build-arg:BUILDKIT_BUILD_NAME");
  for (const auto& output : record.outputs) {
    if (name.empty()) name = Attr(output, "name");
  }
  if (name.empty()) name = Attr(attrs, "context");
  if (name.empty()) name = BaseName(Attr(attrs, client::kContextAttr));
  if (name.empty() || name == ".") name = Attr(attrs, "filename");
  std::string target = Attr(attrs, "target");
  return target.empty() ? name : fmt::format("{} ({})", name, target);
}

std::string StatusOf(const BuildRecord& record) {
  if (!record.completed) return "running";
  if (record.error.empty()) return "completed";
  return client::IsCancelledText(record.error) ? "canceled" : "error";
}

std::string StepsOf(const BuildRecord& record) {
  if (!record.completed) return "";
  std::string text = std::to_string(record.total_steps);
  return record.cached_steps == 0 ? text : fmt::format("{} ({} cached)", text, record.cached_steps);
}

nlohmann::ordered_json JsonOf(const BuildRecord& record) {
  nlohmann::ordered_json json;
  json["ref"] = record.ref;
  json["name"] = NameOf(record);
  json["status"] = StatusOf(record);
  json["createdAt"] = FormatRfc3339(record.created);
  if (record.completed) json["completedAt"] = FormatRfc3339(*record.completed);
  json["totalSteps"] = record.total_steps;
  json["cachedSteps"] = record.cached_steps;
  json["completedSteps"] = record.completed_steps;
  json["warnings"] = record.warnings;
  if (!record.error.empty()) json["error"] = record.error;
  return json;
}

// Docker's `key=value`; what has an operator of containerd's is passed on.
std::string FilterOf(const std::string& text) {
  for (const char* op : {"==", "!=", "~=", ">", "<"}) {
    if (text.find(op) != std::string::npos) return text;
  }
  auto cut = Cut(text, "=");
  return cut ? fmt::format("{}=={}", cut->first, cut->second) : text;
}

Status Ls(const LsFlags& flags, const client::Connection& connection,
          const progress::Activity& activity) {
  std::vector<std::string> filters;
  for (const auto& text : flags.filters) filters.push_back(FilterOf(text));
  std::vector<std::string> all;
  if (!filters.empty()) all.push_back(Join(filters, ","));
  TRY_ASSIGN(auto records, client::ListBuilds(connection, all, flags.limit, activity));
  const WallTime now = SystemClock().Now();
  std::vector<std::vector<std::string>> rows = {
      {"BUILD ID", "NAME", "STATUS", "CREATED", "DURATION", "STEPS"}};
  for (const BuildRecord& record : records) {
    if (flags.format == "json") {
      Print(JsonOf(record).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
            "\n");
      continue;
    }
    rows.push_back({record.ref, client::CleanLine(NameOf(record)), StatusOf(record),
                    FormatAge(now - record.created),
                    FormatSpan(record.completed.value_or(now) - record.created), StepsOf(record)});
  }
  if (flags.format == "table") Print(FormatTable(rows));
  return OkStatus();
}

// The latest build, or the one whose ref begins like that.
Result<std::string> FindBuild(const std::string& wanted, const client::Connection& connection,
                              const progress::Activity& activity) {
  TRY_ASSIGN(auto records, client::ListBuilds(connection, {}, 0, activity));
  if (wanted.empty()) {
    if (records.empty()) return NotFound("no build has been recorded yet");
    return std::max_element(records.begin(), records.end(),
                            [](const auto& a, const auto& b) { return a.created < b.created; })
        ->ref;
  }
  std::vector<std::string> found;
  for (const BuildRecord& record : records) {
    if (record.ref == wanted) return wanted;
    if (record.ref.starts_with(wanted)) found.push_back(record.ref);
  }
  if (found.size() == 1) return found.front();
  if (found.empty())
    return NotFound("no build {}: `kiln ls` shows those there are", Quoted(wanted));
  return InvalidArgument("{} builds begin with {}: {}", found.size(), Quoted(wanted),
                         Join(found, ", "));
}

std::string Listed(const std::vector<StepNumbers::Step>& steps) {
  std::string text;
  for (const auto& step : steps)
    text += fmt::format("\n  {} {}", step.number, client::CleanLine(step.name));
  return text;
}

// "7", "#7", "sha256:…", or a part of one step's name.
Result<StepNumbers::Step> FindStep(const std::string& wanted,
                                   const std::vector<StepNumbers::Step>& steps) {
  std::string number = wanted.starts_with('#') ? wanted.substr(1) : wanted;
  std::vector<StepNumbers::Step> found;
  for (const auto& step : steps) {
    if (number == std::to_string(step.number) || wanted == step.digest.ToString()) return step;
    if (ToLower(step.name).find(ToLower(wanted)) != std::string::npos) found.push_back(step);
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) return NotFound("no step {}; there are:{}", Quoted(wanted), Listed(steps));
  return InvalidArgument("{} may be any of:{}", Quoted(wanted), Listed(found));
}

// The log of one step as it was written, but that lines of the two streams are kept whole; made
// harmless where it goes to a terminal.
class StepLog final : public progress::Sink {
 public:
  StepLog(const Digest& step, bool terminal) : step_(step), terminal_(terminal) {}
  ~StepLog() override { PrintRests(); }
  void OnVertex(const progress::Vertex& vertex) override {
    if (vertex.digest == step_ && vertex.completed) PrintRests();
  }
  void OnStatus(const progress::VertexStatus&) override {}
  void OnWarning(const progress::VertexWarning&) override {}
  void OnLog(const progress::VertexLog& log) override {
    if (log.vertex != step_) return;
    if (terminal_) {
      for (const std::string& line : lines_.Add(log)) Print(line + "\n");
    } else {
      PrintWhole(log);
    }
    std::fflush(stdout);
  }

 private:
  // A line longer than this is not waited for.
  static constexpr size_t kMaxRest = 1 << 20;

  void PrintWhole(const progress::VertexLog& log) {
    std::string& rest = rests_[log.stream];
    rest += log.data;
    const size_t end = rest.size() > kMaxRest ? rest.size() : rest.rfind('\n') + 1;
    Print(rest.substr(0, end));
    rest.erase(0, end);
  }
  void PrintRests() {
    for (const std::string& line : lines_.Flush(step_)) Print(line + "\n");
    for (auto& [stream, rest] : rests_) Print(std::exchange(rest, ""));
  }

  const Digest step_;
  const bool terminal_;
  client::LineSplitter lines_;
  std::map<progress::Stream, std::string> rests_;
};

Status Logs(const LogsFlags& flags, const client::Connection& connection,
            progress::Activity activity) {
  TRY_ASSIGN(const std::string ref, FindBuild(flags.build, connection, activity));
  if (flags.progress == "rawjson") {
    activity.sink = std::make_shared<client::JsonDisplay>(stdout);
    return client::ReadProgress(connection, ref, activity);
  }
  TRY_ASSIGN(const auto records, client::ListBuilds(connection, {"ref==" + ref}, 0, activity));
  const bool ended = std::any_of(records.begin(), records.end(), [&](const BuildRecord& record) {
    return record.ref == ref && record.completed;
  });
  // The numbers of what has ended are known beforehand; what is under way is numbered as it comes.
  const auto numbers = std::make_shared<StepNumbers>();
  if (ended || !flags.step.empty()) {
    activity.sink = numbers;
    TRY(client::ReadProgress(connection, ref, activity));
  }
  if (!flags.step.empty()) {
    TRY_ASSIGN(const auto step, FindStep(flags.step, numbers->Steps()));
    activity.sink = std::make_shared<StepLog>(step.digest, ::isatty(STDOUT_FILENO) == 1);
    return client::ReadProgress(connection, ref, activity);
  }
  std::map<Digest, int> known;
  for (const auto& step : numbers->Steps()) known[step.digest] = step.number;
  const SystemClock clock;
  const auto display = std::make_shared<client::PacedDisplay>(
      stdout, clock, std::make_unique<client::PlainScreen>(client::WantsColours(), known));
  activity.sink = display;
  TRY(client::ReadProgress(connection, ref, activity));
  display->Finish();
  return OkStatus();
}

}  // namespace

void AddLsOptions(CLI::App& app, LsFlags& flags) {
  AddEngineOptions(app, flags.engine);
  AddList(app, "--filter", flags.filters,
          "Which builds: status=running|completed|error|canceled, ref~=…, startedAt>24h, "
          "duration>1m; all must match");
  app.add_option("-n,--limit", flags.limit, "At most so many; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--format", flags.format, "table or json (one object a line)")
      ->check(CLI::IsMember({"table", "json"}));
  app.footer(R"(Examples:
  kiln ls
  kiln ls --filter status=error -n 5

)" + std::string(kExitStatus));
}

void AddLogsOptions(CLI::App& app, LogsFlags& flags) {
  app.add_option("build", flags.build, "Ref of a build or how it begins (default: the latest)")
      ->type_name("BUILD");
  app.add_option("step", flags.step, "Number of a step, or a part of its name: its log alone")
      ->type_name("STEP");
  AddEngineOptions(app, flags.engine);
  app.add_option("--progress", flags.progress, "plain or rawjson")
      ->check(CLI::IsMember({"plain", "rawjson"}));
  app.footer(R"(Examples:
  kiln logs
  kiln logs "" "RUN make"
  kiln logs h2k4 7 | less

)" + std::string(kExitStatus));
}

int RunLs(const LsFlags& flags, const EngineChoice& choice, sys::Spawner* spawner) {
  return RunCommand(choice, spawner, [&](const auto& connection, const auto& activity) {
    return Ls(flags, connection, activity);
  });
}

int RunLogs(const LogsFlags& flags, const EngineChoice& choice, sys::Spawner* spawner) {
  return RunCommand(choice, spawner, [&](const auto& connection, const auto& activity) {
    return Logs(flags, connection, activity);
  });
}

}  // namespace kiln::cmd
