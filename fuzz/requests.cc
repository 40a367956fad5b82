// What clients ask of Control and of a build that they drive themselves. Input, in parts: the first
// has a letter for each of the others, which are serialized messages: which one is below.
#include "control/requests.h"

#include <memory>
#include <string>

#include "build/result.h"
#include "frontend/bridge_calls.h"
#include "frontend/testing/test_build.h"
#include "llb/marshal.h"
#include "parts.h"
#include "quiet_protobuf.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose

// Nothing is fetched: a policy makes folders of images and refuses the rest.
Result<bool> WithoutNetwork(pb::SourceOp& source) {
  if (source.identifier().starts_with("local://")) return false;
  if (!source.identifier().starts_with("docker-image://")) return PermissionDenied("no network");
  source.set_identifier("local://context");
  source.clear_attrs();
  return true;
}

std::unique_ptr<frontend::TestBuild> NewBuild() {
  auto build = std::make_unique<frontend::TestBuild>(WithoutNetwork);
  build->files["local://context"]["a"] = "text";
  build->files["local://dockerfile"]["Dockerfile"] =
      "FROM scratch AS s\nARG x=1\nCOPY a /$x\nFROM busybox\nCOPY --from=s / /\n";
  return build;
}

// One part's message to one call.
class Caller {
 public:
  Caller(frontend::TestBuild& build, frontend::BridgePtr bridge, std::string id)
      : build_(build), bridge_(std::move(bridge)), id_(std::move(id)) {}

  void Call(char letter, std::string_view bytes) {
    namespace wire = frontend::wire;
    switch (letter) {
      case 'S':
        if (const auto request = Parse<moby::buildkit::v1::SolveRequest>(bytes)) Control(*request);
        break;
      case 'P':
        if (const auto request = Parse<moby::buildkit::v1::PruneRequest>(bytes))
          (void)control::RuleOf(*request);
        break;
      case 's':
        Do<wire::SolveRequest, wire::SolveResponse>(frontend::Solve, bytes);
        break;
      case 'm':
        Do<wire::ResolveSourceMetaRequest, wire::ResolveSourceMetaResponse>(
            frontend::ResolveSourceMeta, bytes);
        break;
      case 'i':
        Do<wire::ResolveImageConfigRequest, wire::ResolveImageConfigResponse>(
            frontend::ResolveImageConfig, bytes);
        break;
      case 'f':
        DoAt<wire::ReadFileRequest, wire::ReadFileResponse>(frontend::ReadFile, bytes);
        break;
      case 'd':
        DoAt<wire::ReadDirRequest, wire::ReadDirResponse>(frontend::ReadDir, bytes);
        break;
      case 't':
        DoAt<wire::StatFileRequest, wire::StatFileResponse>(frontend::StatFile, bytes);
        break;
      case 'e':
        DoAt<wire::EvaluateRequest, wire::EvaluateResponse>(frontend::Evaluate, bytes);
        break;
      case 'w':
        if (const auto request = Parse<wire::WarnRequest>(bytes))
          (void)frontend::Warn(*bridge_, *request);
        break;
      case 'r':
        if (const auto request = Parse<wire::ReturnRequest>(bytes)) Return(*request);
        break;
      default:
        break;
    }
  }

 private:
  template <typename Message>
  static std::optional<Message> Parse(std::string_view bytes) {
    Message message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
    return message;
  }

  void Control(const moby::buildkit::v1::SolveRequest& request) {
    (void)control::CompatibilityVersionOf(request);
    (void)control::CheckServed(request);
    exporter::Services services;
    services.store = build_.gateway()->job()->environment().store;
    services.clock = &clock_;
    services.blocking = &build_.pool();
    (void)exporter::ExporterSet::Make(services, control::ExportersOf(request), "session");
    (void)build_.gateway()->Solve(build_.activity(), control::RequestOf(request));
  }

  void Return(const frontend::wire::ReturnRequest& request) {
    if (!frontend::Return(*bridge_, request).ok()) return;
    const auto result = bridge_->Wait({});
    if (result.ok()) (void)build::PlatformsOf(*result);
    wire_inputs_.Clear();
    (void)frontend::Inputs(*bridge_, &wire_inputs_);
  }

  template <typename Request, typename Response>
  void Do(Status (*function)(const frontend::BridgeCall&, const Request&, Response*),
          std::string_view bytes) {
    Response response;
    if (const auto request = Parse<Request>(bytes))
      (void)function({*bridge_, build_.activity()}, *request, &response);
  }

  // "r" stands for a reference that is there: nobody could guess its id.
  template <typename Request, typename Response>
  void DoAt(Status (*function)(const frontend::BridgeCall&, const Request&, Response*),
            std::string_view bytes) {
    auto request = Parse<Request>(bytes);
    if (!request) return;
    if (request->ref() == "r") request->set_ref(id_);
    Response response;
    (void)function({*bridge_, build_.activity()}, *request, &response);
  }

  const SystemClock clock_;
  frontend::TestBuild& build_;
  const frontend::BridgePtr bridge_;
  const std::string id_;
  frontend::wire::InputsResponse wire_inputs_;
};

// The id of a folder with a file, a directory and a link in it.
std::string SolveTree(const frontend::BridgeCall& call) {
  llb::MkfileAction file;
  file.path = "/f";
  file.data = "0123456789";
  const auto definition =
      llb::Marshal(llb::File({}, {std::move(file), llb::MkdirAction{"/d", 0755, true}}));
  CHECK(definition.ok());
  frontend::wire::SolveRequest request;
  *request.mutable_definition() = *definition;
  request.set_allowresultreturn(true);
  request.set_allowresultarrayref(true);
  frontend::wire::SolveResponse response;
  CHECK(frontend::Solve(call, request, &response).ok());
  return response.result().ref().id();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A build remembers what was loaded into it.
  static std::unique_ptr<frontend::TestBuild> build;
  static size_t used = 0;
  if (build == nullptr || ++used % 500 == 0) {
    build.reset();
    build = NewBuild();
  }
  const Parts parts(data, size);
  frontend::Request inputs;
  inputs.inputs["none"] = nullptr;
  const frontend::BridgePtr bridge = build->MakeBridge(std::move(inputs));
  Caller caller(*build, bridge, SolveTree({*bridge, build->activity()}));
  for (size_t i = 0; i < std::min<size_t>(parts[0].size(), 8); ++i)
    caller.Call(parts[0][i], parts[i + 1]);
  return 0;
}
