#include "dockerfile/subrequests.h"

#include <google/protobuf/util/json_util.h>

#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/strings.h"
#include "dockerfile/globals.h"
#include "dockerfile/lint_report.h"
#include "dockerfile/outline.h"
#include "dockerfile/parser.h"
#include "dockerfile/text_table.h"
#include "llb/marshal.h"
#include "llb/source_map.h"

namespace kiln::dockerfile {
namespace {

using Json = nlohmann::ordered_json;
using Answer = std::map<std::string, std::string>;

constexpr std::string_view kSubrequestType = "github.com/moby/buildkit/errdefs.Subrequest+json";

struct Question {
  const Options& options;
  const LoadedDockerfile& loaded;
  Host& host;
  const ReportFinding& warn;
};

struct Subrequest {
  std::string_view name;
  std::string_view version;
  std::string_view description;
  Result<Answer> (*answer)(const Question&);
};

// The conversion of the file under the request's options, for the default platform.
Result<Plan> Convert(const Question& question, LowerObserver* observer) {
  TRY_ASSIGN(LintConfig config, LintConfigOf(question.options, question.loaded.source.data));
  Linter linter(std::move(config), question.warn);
  return MakePlan(question.options, question.loaded, question.host, {&linter, observer, false});
}

Json NeedsJson(const std::vector<Outline::Need>& needs) {
  Json list = Json::array();
  for (const Outline::Need& need : needs) {
    Json json = {{"name", need.name}};
    if (need.required) json["required"] = true;
    json["location"] = LocationJson({need.lines});
    list.push_back(std::move(json));
  }
  return list;
}

Json OutlineJson(const Outline& outline, const SourceFile& source) {
  Json json = Json::object();
  if (!outline.name.empty()) json["name"] = outline.name;
  if (!outline.description.empty()) json["description"] = outline.description;
  for (const Outline::Arg& arg : outline.args) {
    Json entry = {{"name", arg.name}};
    if (!arg.description.empty()) entry["description"] = arg.description;
    if (!arg.value.empty()) entry["value"] = arg.value;
    entry["location"] = LocationJson({arg.lines});
    json["args"].push_back(std::move(entry));
  }
  if (!outline.secrets.empty()) json["secrets"] = NeedsJson(outline.secrets);
  if (!outline.agents.empty()) json["ssh"] = NeedsJson(outline.agents);
  json["sources"] = Json::array({Base64Encode(source.data)});
  return json;
}

std::string NeedsText(const std::string& heading, const std::vector<Outline::Need>& needs) {
  if (needs.empty()) return "";
  TextTable table(3);
  table.Add({heading, "REQUIRED"});
  for (const Outline::Need& need : needs) table.Add({need.name, need.required ? "true" : ""});
  return table.Text() + "\n";
}

std::string OutlineText(const Outline& outline) {
  std::string text;
  if (!outline.name.empty() || !outline.description.empty()) {
    TextTable table(1);
    table.Add({"TARGET:", outline.name.empty() ? "(default)" : outline.name});
    if (!outline.description.empty()) table.Add({"DESCRIPTION:", outline.description});
    text += table.Text() + "\n";
  }
  if (!outline.args.empty()) {
    TextTable table(3);
    table.Add({"BUILD ARG", "VALUE", "DESCRIPTION"});
    for (const Outline::Arg& arg : outline.args) table.Add({arg.name, arg.value, arg.description});
    text += table.Text() + "\n";
  }
  return text + NeedsText("SECRET", outline.secrets) + NeedsText("SSH", outline.agents);
}

Result<Answer> AnswerOutline(const Question& question) {
  const SourceFile& source = question.loaded.source;
  TRY_ASSIGN(const Dockerfile file, Parse(source));
  const oci::Platform platform = question.host.build_platform();
  const Variables automatic = AutomaticVariables(question.options, file, platform, platform);
  TRY_ASSIGN(OutlineObserver observer,
             OutlineObserver::Start(question.options, file, source, automatic));
  TRY(Convert(question, &observer));
  const Outline outline = observer.Take(question.options);
  return Answer{{"result.json", GoIndented(OutlineJson(outline, source))},
                {"result.txt", OutlineText(outline)}};
}

Result<Answer> AnswerTargets(const Question& question) {
  const SourceFile& source = question.loaded.source;
  TRY_ASSIGN(const Dockerfile file, Parse(source));
  TextTable table(1);
  table.Add({"TARGET", "DESCRIPTION"});
  Json list = Json::array();
  for (const Stage& stage : file.stages) {
    const bool is_default = &stage == &file.stages.back();
    const std::string& name = stage.from.name;
    const std::string description = DescriptionIn(stage.head.comments, name);
    Json json = Json::object();
    if (!name.empty()) json["name"] = name;
    if (is_default) json["default"] = true;
    if (!description.empty()) json["description"] = description;
    if (!stage.from.base.empty()) json["base"] = stage.from.base;
    if (!stage.from.platform.empty()) json["platform"] = stage.from.platform;
    json["location"] = LocationJson({stage.head.lines});
    list.push_back(std::move(json));
    const std::string mark = is_default ? (name.empty() ? "(default)" : " (default)") : "";
    table.Add({name + mark, description});
  }
  const Json json = {{"targets", std::move(list)},
                     {"sources", Json::array({Base64Encode(source.data)})}};
  return Answer{{"result.json", GoIndented(json)}, {"result.txt", table.Text()}};
}

// What fails the conversion is part of the answer.
Result<Answer> AnswerLint(const Question& question) {
  std::vector<Finding> findings;
  const auto run = [&]() -> Status {
    TRY_ASSIGN(LintConfig config, LintConfigOf(question.options, question.loaded.source.data));
    Linter linter(std::move(config), [&](const Finding& finding) { findings.push_back(finding); });
    // Without a target every stage is looked at.
    TRY(MakePlan(question.options, question.loaded, question.host,
                 {&linter, nullptr, question.options.target.empty()}));
    return OkStatus();
  };
  const Status status = run();
  const Error* error = status.ok() ? nullptr : &status.error();
  return Answer{{"result.json", GoIndented(LintJson(question.loaded, findings, error))},
                {"result.txt", LintText(question.loaded.source, findings)},
                {"result.statuscode", findings.empty() && error == nullptr ? "0" : "1"}};
}

Result<Json> MessageJson(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text).ok()) {
    return Unknown("a part of the definition can not be written as JSON");
  }
  return Json::parse(text);
}

Json MetadataJson(const pb::OpMetadata& metadata) {
  Json json = Json::object();
  if (metadata.ignore_cache()) json["ignore_cache"] = true;
  const std::map<std::string, std::string> description(metadata.description().begin(),
                                                       metadata.description().end());
  if (!description.empty()) json["description"] = description;
  if (metadata.has_export_cache()) {
    json["export_cache"] = Json::object();
    if (metadata.export_cache().value()) json["export_cache"]["Value"] = true;
  }
  const std::map<std::string, bool> caps(metadata.caps().begin(), metadata.caps().end());
  if (!caps.empty()) json["caps"] = caps;
  if (metadata.has_progress_group()) {
    const auto& group = metadata.progress_group();
    Json entry = Json::object();
    if (!group.id().empty()) entry["id"] = group.id();
    if (!group.name().empty()) entry["name"] = group.name();
    if (group.weak()) entry["weak"] = true;
    json["progress_group"] = std::move(entry);
  }
  return json;
}

Result<Answer> AnswerConvertLlb(const Question& question) {
  TRY_ASSIGN(const Plan plan, Convert(question, nullptr));
  TRY_ASSIGN(const pb::Definition definition, llb::Marshal(plan.platforms.front().root));
  std::map<std::string, Json> ops;
  for (const std::string& bytes : definition.def()) {
    pb::Op op;
    if (!op.ParseFromString(bytes)) return Internal("an op of our own can not be read");
    TRY_ASSIGN(ops[Sha256Of(bytes).ToString()], MessageJson(op));
  }
  std::map<std::string, Json> metadata;
  for (const auto& [digest, entry] : definition.metadata()) metadata[digest] = MetadataJson(entry);
  TRY_ASSIGN(Json source, MessageJson(definition.source()));
  const Json json = {{"def", ops}, {"metadata", metadata}, {"source", std::move(source)}};
  return Answer{{"result.json", GoIndented(json)}};
}

Result<Answer> AnswerDescribe(const Question& question);

constexpr std::array<Subrequest, 5> kSubrequests = {{
    {"frontend.outline", "1.0.0", "List all parameters current build target supports",
     AnswerOutline},
    {"frontend.targets", "1.0.0", "List all targets current build supports", AnswerTargets},
    {"frontend.subrequests.describe", "1.0.0", "List available subrequest types", AnswerDescribe},
    {"frontend.lint", "1.0.0", "Lint a Dockerfile", AnswerLint},
    {"frontend.convertllb", "0.1.0", "Convert Dockerfile to LLB", AnswerConvertLlb},
}};
// The list names the first only, as BuildKit's does.
constexpr std::size_t kDescribed = 3;

Result<Answer> AnswerDescribe(const Question&) {
  Json list = Json::array();
  TextTable table(1);
  table.Add({"NAME", "VERSION", "DESCRIPTION"});
  for (std::size_t i = 0; i < kDescribed; ++i) {
    const Subrequest& one = kSubrequests.at(i);
    Json options;  // null: nothing is said
    if (one.name == "frontend.outline") {
      options = Json::array({{{"name", "target"}, {"description", "Target build stage"}}});
    } else if (one.name == "frontend.targets") {
      options = Json::array();
    }
    const Json metadata = Json::array({{{"name", "result.json"}, {"description", ""}},
                                       {{"name", "result.txt"}, {"description", ""}}});
    list.push_back({{"name", one.name},
                    {"version", one.version},
                    {"type", "rpc"},
                    {"description", one.description},
                    {"opts", std::move(options)},
                    {"inputs", nullptr},
                    {"metadata", metadata},
                    {"refs", nullptr}});
    table.Add({std::string(one.name.substr(std::string_view("frontend.").size())),
               std::string(one.version), std::string(one.description)});
  }
  return Answer{{"result.json", GoIndented(list)}, {"result.txt", table.Text()}};
}

}  // namespace

Result<Answer> AnswerSubrequest(const Options& options, const LoadedDockerfile& loaded, Host& host,
                                const ReportFinding& warn) {
  Options once = options;
  once.platforms.clear();
  for (const Subrequest& one : kSubrequests) {
    if (one.name != options.request_id) continue;
    TRY_ASSIGN(Answer answer, one.answer({once, loaded, host, warn}));
    answer["version"] = one.version;
    return answer;
  }
  Error error = Unknown("unsupported request {}", options.request_id);
  error.AddDetail(
      {std::string(kSubrequestType), nlohmann::json({{"name", options.request_id}}).dump()});
  return error;
}

}  // namespace kiln::dockerfile
