#include "frontend/bridge_calls.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "llb/caps.h"
#include "rpc/status.h"

namespace kiln::frontend {
namespace {

void AddCaps(std::span<const llb::Cap> caps,
             google::protobuf::RepeatedPtrField<::moby::buildkit::v1::apicaps::APICap>* out) {
  for (const llb::Cap& cap : caps) {
    auto* entry = out->Add();
    entry->set_id(std::string(cap.id));
    entry->set_enabled(true);
    entry->set_deprecated(cap.deprecated);
  }
}

Status RefusePolicies(int count) {
  if (count == 0) return OkStatus();
  return Unimplemented("source policies of a single request are not served by this build server");
}

Result<Request> RequestOf(const wire::SolveRequest& in) {
  TRY(RefusePolicies(in.sourcepolicies_size()));
  // Caches to import are those of the whole build, for which Control.Solve says what is not served.
  Request request;
  if (in.has_definition() && in.definition().def_size() > 0) {
    if (!in.frontend().empty()) {
      return Unknown("cannot solve with both Definition and Frontend specified");
    }
    request.definition = std::make_shared<pb::Definition>(in.definition());
  }
  request.frontend = in.frontend();
  request.opts = {in.frontendopt().begin(), in.frontendopt().end()};
  for (const auto& [name, definition] : in.frontendinputs()) {
    request.inputs[name] = std::make_shared<pb::Definition>(definition);
  }
  request.evaluate = in.evaluate();
  return request;
}

KeepReference Keeper(Bridge& bridge) {
  return [&bridge](const build::ReferencePtr& reference) { return bridge.Keep(reference); };
}

FindReference Finder(Bridge& bridge) {
  return [&bridge](const std::string& id) { return bridge.Find(id); };
}

// Metadata that old clients send along with their last solve: {"key": "base64"}.
Status AddExporterAttrs(const std::string& json, build::BuildResult& result) {
  if (json.empty()) return OkStatus();
  const auto attrs = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!attrs.is_object()) return InvalidArgument("ExporterAttr is no JSON object");
  for (const auto& [key, value] : attrs.items()) {
    const auto bytes = value.is_string() ? Base64Decode(value.get<std::string>()) : std::nullopt;
    if (!bytes) return InvalidArgument("ExporterAttr {} is no base64", Quoted(key));
    result.metadata[key] = *bytes;
  }
  return OkStatus();
}

}  // namespace

void Ping(const ::moby::buildkit::v1::types::WorkerRecord& worker, wire::PongResponse* response) {
  AddCaps(llb::FrontendCaps(), response->mutable_frontendapicaps());
  AddCaps(llb::LlbCaps(), response->mutable_llbcaps());
  auto* entry = response->add_workers();
  entry->set_id(worker.id());
  *entry->mutable_labels() = worker.labels();
  *entry->mutable_platforms() = worker.platforms();
}

Status Solve(const BridgeCall& call, const wire::SolveRequest& request,
             wire::SolveResponse* response) {
  TRY_ASSIGN(const Request inner, RequestOf(request));
  TRY_ASSIGN(build::BuildResult result, call.bridge.gateway()->Solve(call.activity, inner));
  if (!request.allowresultreturn()) {
    if (result.is_map) return Unknown("solve did not return default result");
    response->set_ref(call.bridge.Keep(result.ref));
  }
  ToProto(result, request.allowresultarrayref(), Keeper(call.bridge), response->mutable_result());
  if (!request.final()) return OkStatus();
  TRY(AddExporterAttrs(request.exporterattr(), result));
  return call.bridge.Return(std::move(result));
}

Status Evaluate(const BridgeCall& call, const wire::EvaluateRequest& request,
                wire::EvaluateResponse*) {
  TRY_ASSIGN(const build::ReferencePtr reference, call.bridge.Find(request.ref()));
  TRY(reference->Evaluate(call.activity));
  return OkStatus();
}

Status Inputs(Bridge& bridge, wire::InputsResponse* response) {
  for (const auto& [name, definition] : bridge.request().inputs) {
    if (definition != nullptr) (*response->mutable_definitions())[name] = *definition;
  }
  return OkStatus();
}

Status Warn(Bridge& bridge, const wire::WarnRequest& request) {
  progress::VertexWarning warning;
  TRY_ASSIGN(warning.vertex, Digest::Parse(request.digest()));
  warning.level = request.level() == 0 ? 1 : static_cast<int>(request.level());
  warning.short_text = request.short_();
  warning.detail = {request.detail().begin(), request.detail().end()};
  warning.url = request.url();
  if (request.has_info()) {
    const pb::SourceInfo& info = request.info();
    warning.info = progress::SourceInfo{
        info.filename(), info.data(), info.language(),
        info.has_definition() ? info.definition().SerializeAsString() : std::string()};
  }
  for (const pb::Range& range : request.ranges()) {
    if (!range.has_start() || !range.has_end()) return InvalidArgument("invalid source range");
    warning.ranges.push_back({{range.start().line(), range.start().character()},
                              {range.end().line(), range.end().character()}});
  }
  bridge.gateway()->Warn(warning);
  return OkStatus();
}

Status Return(Bridge& bridge, const wire::ReturnRequest& request) {
  if (request.has_error()) {
    // An error of code OK is none.
    if (request.error().code() == 0) return Unknown("gateway return must be either result or err");
    return bridge.Return(rpc::FromProto(request.error()));
  }
  if (!request.has_result()) return InvalidArgument("result is required");
  TRY_ASSIGN(build::BuildResult result, FromProto(request.result(), Finder(bridge)));
  return bridge.Return(std::move(result));
}

}  // namespace kiln::frontend
