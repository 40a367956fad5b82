#include "frontend/dockerfile_frontend.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "dockerfile/directives.h"
#include "dockerfile/errors.h"
#include "dockerfile/lint.h"
#include "dockerfile/options.h"
#include "dockerfile/plan.h"
#include "dockerfile/subrequests.h"
#include "frontend/build_host.h"
#include "llb/go_json.h"
#include "llb/marshal.h"
#include "llb/source_map.h"
#include "oci/reference.h"

namespace kiln::frontend {
namespace {

constexpr std::string_view kFrontendType = "github.com/moby/buildkit/errdefs.Frontend+json";
constexpr std::string_view kBuiltIn = "dockerfile.v0";

Error Detailed(Error error, std::string_view type, const nlohmann::json& json) {
  error.AddDetail({std::string(type), json.dump()});
  return error;
}

Error NotBuiltIn(const std::string& name) {
  return Unimplemented(
      "frontend image {} is not served by this build server: it serves docker/dockerfile itself "
      "and "
      "runs no frontends in containers",
      name);
}

// `# syntax=` and BUILDKIT_SYNTAX. The official names mean this frontend; anything else would need
// a container.
Status CheckSyntax(const dockerfile::Options& options, const dockerfile::LoadedDockerfile& loaded) {
  if (options.has_cmdline) return OkStatus();
  if (const auto given = options.BuildArg("BUILDKIT_SYNTAX"); given && !given->empty()) {
    const std::string name = given->substr(0, given->find(' '));
    if (IsBuiltInSyntax(name)) return OkStatus();
    return std::move(
        NotBuiltIn(name).AddContext("failed with build-arg:BUILDKIT_SYNTAX = " + *given));
  }
  const auto syntax = dockerfile::FindSyntax(loaded.source.data);
  if (!syntax || IsBuiltInSyntax(syntax->word)) return OkStatus();
  return dockerfile::WithSource(NotBuiltIn(syntax->word), loaded.source, syntax->lines);
}

// What a user did wrong carries no code, as stock clients expect: they print any other before the
// message.
Error WithoutCode(Error error) {
  switch (error.code()) {
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kAlreadyExists:
    case Code::kFailedPrecondition:
    case Code::kOutOfRange:
    case Code::kUnavailable:
      error.set_code(Code::kUnknown);
      break;
    default:
      break;
  }
  return error;
}

// The file goes with each finding, as clients want it, until so much has been sent.
constexpr std::size_t kMaxToldBytes = std::size_t{16} << 20;

// Details that show lines of the Dockerfile say where it came from, as upstream's do: the
// definition of the file, in which a client finds it again.
Error WithDefinition(Error error, const dockerfile::LoadedDockerfile& loaded) {
  const auto definition = llb::Marshal(loaded.llb_source->definition);
  if (!definition.ok() || error.FindDetail(llb::kSourceDetailType) == nullptr) return error;
  std::string text;
  llb::AppendGoJson(text, *definition);
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  Error out(error.code(), error.message());
  for (const std::string& context : error.contexts()) out.AddContext(context);
  for (const ErrorDetail& detail : error.details()) {
    auto source = nlohmann::json::object();
    if (detail.type_url == llb::kSourceDetailType)
      source = nlohmann::json::parse(detail.value, nullptr, /*allow_exceptions=*/false);
    const bool bare = source.is_object() && source.contains("info") && source["info"].is_object() &&
                      !source["info"].contains("definition") &&
                      source["info"].value("filename", "") == loaded.source.filename;
    if (bare) source["info"]["definition"] = json;
    out.AddDetail(bare ? ErrorDetail{detail.type_url, source.dump()} : detail);
  }
  return out;
}

// Findings of build checks become warnings of the step that has loaded the Dockerfile.
Result<dockerfile::ReportFinding> Warner(const GatewayPtr& gateway,
                                         const dockerfile::LoadedDockerfile& loaded) {
  TRY_ASSIGN(const pb::Definition definition, llb::Marshal(loaded.llb_source->definition));
  progress::VertexWarning warning;
  pb::Op terminal;
  if (definition.def_size() > 0 && terminal.ParseFromString(*definition.def().rbegin()) &&
      terminal.inputs_size() > 0) {
    TRY_ASSIGN(warning.vertex, Digest::Parse(terminal.inputs(0).digest()));
  }
  warning.info = progress::SourceInfo{loaded.source.filename, loaded.source.data, "Dockerfile",
                                      definition.SerializeAsString()};
  return dockerfile::ReportFinding(
      [gateway, warning = std::move(warning), told = std::make_shared<std::size_t>(0),
       loaded_bytes = loaded.source.data.size()](const dockerfile::Finding& finding) {
        progress::VertexWarning one = warning;
        *told += loaded_bytes;
        if (*told > kMaxToldBytes) one.info.reset();
        one.short_text = finding.Short();
        one.detail = {std::string(finding.rule->description)};
        one.url = dockerfile::PageOf(*finding.rule);
        for (int line = finding.lines.first; line <= finding.lines.last; ++line) {
          one.ranges.push_back({{line, 0}, {line, 0}});
        }
        gateway->Warn(one);
      });
}

}  // namespace

bool IsBuiltInSyntax(const std::string& name) {
  if (name == kBuiltIn) return true;
  const auto ref = oci::Reference::ParseNormalized(name);
  if (!ref.ok() || ref->domain() != "docker.io") return false;
  return ref->path() == "docker/dockerfile" || ref->path() == "docker/dockerfile-upstream";
}

Result<build::BuildResult> DockerfileFrontend::Solve(const progress::Activity& activity,
                                                     const GatewayPtr& gateway,
                                                     const Request& request) {
  auto result = Convert(activity, gateway, request);
  if (!result.ok()) return WithoutCode(std::move(result).error());
  return result;
}

Result<build::BuildResult> DockerfileFrontend::Convert(const progress::Activity& activity,
                                                       const GatewayPtr& gateway,
                                                       const Request& request) {
  TRY_ASSIGN(const dockerfile::Options options, dockerfile::ParseOptions(request.opts));
  TRY(dockerfile::CheckCaps(options, /*forwardable=*/true));
  BuildHost host(activity, gateway, request);
  TRY_ASSIGN(const dockerfile::LoadedDockerfile loaded, dockerfile::LoadDockerfile(options, host));
  auto result = ConvertLoaded(activity, gateway, options, loaded, host);
  if (!result.ok()) return WithDefinition(std::move(result).error(), loaded);
  return result;
}

Result<build::BuildResult> DockerfileFrontend::ConvertLoaded(
    const progress::Activity& activity, const GatewayPtr& gateway,
    const dockerfile::Options& options, const dockerfile::LoadedDockerfile& loaded,
    BuildHost& host) {
  TRY(CheckSyntax(options, loaded));
  TRY(dockerfile::CheckCaps(options, /*forwardable=*/false));
  TRY_ASSIGN(const dockerfile::ReportFinding warn, Warner(gateway, loaded));
  build::BuildResult result;
  if (!options.request_id.empty()) {
    TRY_ASSIGN(result.metadata, dockerfile::AnswerSubrequest(options, loaded, host, warn));
    return result;
  }
  TRY_ASSIGN(dockerfile::LintConfig checks, dockerfile::LintConfigOf(options, loaded.source.data));
  dockerfile::Linter linter(std::move(checks), warn);
  TRY_ASSIGN(const dockerfile::Plan plan,
             dockerfile::MakePlan(options, loaded, host, {&linter, nullptr, false}));
  TRY(activity.Check());
  result.is_map = plan.multi_platform;
  result.metadata = dockerfile::ResultMetadata(plan);
  for (const auto& platform : plan.platforms) {
    TRY_ASSIGN_CTX(const pb::Definition definition, llb::Marshal(platform.root),
                   "failed to marshal LLB definition");
    build::ReferencePtr reference;  // none stands for an empty tree
    if (definition.def_size() > 0) {
      TRY_ASSIGN(reference, gateway->job()->Load(definition));
    }
    if (plan.multi_platform) {
      result.refs[platform.id] = std::move(reference);
    } else {
      result.ref = std::move(reference);
    }
  }
  return result;
}

bool GatewayFrontend::Allows(const std::string& source) const {
  if (repositories_.empty()) return true;
  const auto wanted = oci::Reference::ParseNormalized(source);
  if (!wanted.ok()) return false;
  return std::any_of(repositories_.begin(), repositories_.end(), [&](const std::string& one) {
    const auto allowed = oci::Reference::ParseNormalized(one);
    return allowed.ok() && allowed->domain() == wanted->domain() &&
           allowed->path() == wanted->path();
  });
}

Result<build::BuildResult> GatewayFrontend::Solve(const progress::Activity& activity,
                                                  const GatewayPtr& gateway,
                                                  const Request& request) {
  if (request.opts.contains("gateway-devel")) {
    return Unimplemented("development gateway is no longer supported");
  }
  const auto source = request.opts.find("source");
  if (source == request.opts.end() || source->second.empty()) {
    return InvalidArgument("no source specified for gateway");
  }
  const std::string& name = source->second;
  if (!Allows(name)) return PermissionDenied("'{}' is not an allowed gateway source", name);
  for (const auto& [key, value] : request.opts) {
    if (key == "context:" + name || key.starts_with("context:" + name + "::")) {
      return Unimplemented(
          "a named context in place of frontend {} is not served by this build server", name);
    }
  }
  if (!IsBuiltInSyntax(name)) {
    return Detailed(NotBuiltIn(name), kFrontendType, {{"name", "gateway.v0"}, {"source", name}});
  }
  Request inner = request;
  inner.frontend = kBuiltIn;
  inner.opts.erase("source");
  // Whoever chose the frontend has read `# syntax=` already.
  inner.opts.emplace("cmdline", name);
  return gateway->Solve(activity, inner);
}

}  // namespace kiln::frontend
