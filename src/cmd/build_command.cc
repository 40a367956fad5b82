#include "cmd/build_command.h"

#include <cstdlib>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/strings.h"
#include "client/display_model.h"
#include "client/step_numbers.h"
#include "client/warning_list.h"
#include "cmd/command.h"
#include "cmd/error_report.h"
#include "cmd/interrupt.h"
#include "cmd/nearest_file.h"
#include "cmd/print.h"
#include "cmd/registry_logins.h"
#include "cmd/ssh_agents.h"

namespace kiln::cmd {
namespace {

using Response = std::map<std::string, std::string>;

constexpr std::string_view kNoOutputGiven =
    "WARNING: No output specified: the result stays in the build cache alone. --push sends the "
    "image to its registry, --load loads it into Docker, -o PATH writes the files\n";

// What `docker build --iidfile` writes: the config's digest, or the image's where there is no
// single config.
std::string ImageId(const Response& response) {
  for (const char* key : {"containerimage.config.digest", "containerimage.digest"}) {
    if (auto it = response.find(key); it != response.end()) return it->second;
  }
  return "";
}

// Values that are JSON (or base64 of it) are written as such.
std::string MetadataJson(const client::BuildReport& report,
                         const std::vector<progress::VertexWarning>& warnings) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& warning : warnings) {
    object["buildx.build.warnings"].push_back(nlohmann::json(client::WarningJson(warning)));
  }
  object["buildx.build.ref"] = report.ref;
  for (const auto& [key, value] : report.exporter_response) {
    auto decoded = Base64Decode(value);
    auto parsed = nlohmann::json::parse(decoded.value_or(value), nullptr, false);
    if (parsed.is_object() || parsed.is_array()) {
      object[key] = std::move(parsed);
    } else {
      object[key] = value;
    }
  }
  return object.dump(2) + "\n";
}

// Asked for by the variable that asks buildx for it.
bool WantsWarnings() {
  const char* value = std::getenv("BUILDX_METADATA_WARNINGS");
  return value != nullptr && ParseBool(value).value_or(false);
}

Status WriteFiles(const BuildFlags& flags, const client::BuildReport& report,
                  const std::vector<progress::VertexWarning>& warnings, mode_t umask) {
  const mode_t mode = 0644 & ~umask;
  if (!flags.iid_file.empty())
    TRY(WriteFileAtomically(flags.iid_file, ImageId(report.exporter_response), mode));
  if (!flags.metadata_file.empty())
    TRY(WriteFileAtomically(flags.metadata_file, MetadataJson(report, warnings), mode));
  return OkStatus();
}

// The command that shows the whole log of the step whose error ended the build; "" if none's did.
std::string LogCommand(const BuildFlags& flags, const std::string& ref, const std::string& error,
                       const std::vector<client::StepNumbers::Step>& steps) {
  for (const auto& step : steps) {
    if (step.error.empty() || client::IsCancelledText(step.error)) continue;
    if (error.find(step.error) == std::string::npos) continue;
    std::string command = "kiln logs";
    if (!flags.engine.addr.empty()) command += " --addr " + flags.engine.addr;
    if (!flags.engine.root.empty()) command += " --root " + flags.engine.root;
    return fmt::format("{} {} {}", command, ref, step.number);
  }
  return "";
}

// How the user names the Dockerfile.
std::string ShownName(const BuildFlags& flags) {
  if (flags.file == "-" || (flags.context == "-" && flags.file.empty())) return "stdin";
  return flags.file.empty() ? JoinPath(flags.context, "Dockerfile") : flags.file;
}

Status Run(const BuildFlags& flags, const EngineChoice& choice, sys::Spawner* spawner,
           std::string* where_to_look, int* exit_status) {
  TRY_ASSIGN(auto mode, client::ParseDisplayMode(flags.quiet ? "quiet" : flags.progress));
  TRY_ASSIGN(auto prepared, Prepare(flags));
  const bool spoken = mode != client::DisplayMode::kQuiet && mode != client::DisplayMode::kRawJson;
  if (prepared.without_output && prepared.call.name.empty() && spoken) PrintError(kNoOutputGiven);
  SystemClock clock;
  CancelSource cancel;
  // Outlives the engine, which may have to wait for others.
  InterruptWatcher watcher([&](int) { cancel.Cancel(Cancelled("context canceled")); });
  TRY_ASSIGN(auto engine, OpenEngine(choice, spawner));
  prepared.request.umask = choice.umask;
  RegistryLogins logins(*spawner, engine->registries());
  prepared.request.credential_helper = logins.helper();
  prepared.request.fetch_token = logins.fetcher();
  SshAgents ssh_agents(*spawner);
  for (const SshKeys& keys : prepared.ssh_keys) {
    TRY_ASSIGN(client::SshAgent agent, ssh_agents.Start(keys, cancel.token()));
    prepared.request.ssh_agents.push_back(std::move(agent));
  }
  if (prepared.request.ref.empty()) prepared.request.ref = NewId();
  if (prepared.docker) TRY(prepared.docker->Check(cancel.token()));
  auto display = client::MakeDisplay(mode, stderr, clock);
  auto numbers = std::make_shared<client::StepNumbers>();
  progress::Activity activity;
  activity.cancel = cancel.token();
  auto warnings = std::make_shared<client::WarningList>();
  activity.sink = std::make_shared<client::TeeSink>(
      std::make_shared<client::TeeSink>(display, numbers), warnings);
  auto report = client::Build(engine->connection(), prepared.request, activity);
  display->Finish();
  const bool is_call = !prepared.call.name.empty();
  if (spoken && !is_call) PrintError(warnings->Summary());
  if (!report.ok()) {
    *where_to_look =
        LogCommand(flags, prepared.request.ref, report.error().ToString(), numbers->Steps());
    return std::move(report).error();
  }
  const bool list = !is_call && WantsWarnings();
  TRY(WriteFiles(flags, *report, list ? warnings->All() : std::vector<progress::VertexWarning>(),
                 choice.umask));
  if (is_call) {
    const CallReport called = ReportCall(prepared.call, report->metadata, ShownName(flags));
    Print(called.out);
    if (!called.error.empty()) PrintError("ERROR: " + called.error);
    *exit_status = called.status;
    return OkStatus();
  }
  if (flags.quiet) Print(ImageId(report->exporter_response) + "\n");
  return OkStatus();
}

}  // namespace

int RunBuild(const BuildFlags& flags, const EngineChoice& choice, sys::Spawner* spawner) {
  std::string where_to_look;
  int exit_status = 0;
  Status status = Run(flags, choice, spawner, &where_to_look, &exit_status);
  if (status.ok()) return exit_status;
  std::string text = DescribeError(status.error());
  text += NearestFileHint(flags.context, text);
  if (!where_to_look.empty()) text += "The whole log of that step: " + where_to_look + "\n";
  PrintError(text);
  return 1;
}

}  // namespace kiln::cmd
