#include "client/build.h"

#include <grpcpp/channel.h>
#include <moby/buildkit/v1/control.grpc.pb.h>
#include <moby/buildkit/v1/frontend/gateway.grpc.pb.h>
#include <moby/buildkit/v1/sourcepolicy/policy.pb.h>

#include <functional>
#include <thread>

#include "base/ids.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "client/layout_output.h"
#include "client/progress_events.h"
#include "client/session_server.h"
#include "rpc/metadata.h"
#include "rpc/status.h"

namespace kiln::client {
namespace {

namespace pb = moby::buildkit::v1;
using pb::frontend::LLBBridge;

// After Return with an error, Solve is expected to fail with it within this time.
constexpr std::chrono::seconds kSolveGrace{5};
// After the answer, the status stream is expected to end within this time.
constexpr std::chrono::seconds kStatusGrace{5};

// A thread that makes one call; waiting for it may be bounded.
class Background {
 public:
  Background(const char* name, std::function<void()> work)
      : thread_(AwaitThread(name, [this, work = std::move(work)] {
          work();
          MutexLock lock(mutex_);
          done_ = true;
          changed_.NotifyAll();
        })) {}
  ~Background() { thread_.join(); }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  bool WaitFor(std::chrono::nanoseconds limit) {
    MutexLock lock(mutex_);
    return changed_.WaitFor(lock, limit, [this]() REQUIRES(mutex_) { return done_; });
  }
  void Wait() {
    MutexLock lock(mutex_);
    while (!done_) changed_.Wait(lock);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool done_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

void FillCache(const std::vector<CacheEntry>& entries,
               google::protobuf::RepeatedPtrField<pb::CacheOptionsEntry>* out) {
  for (const CacheEntry& entry : entries) {
    auto* to = out->Add();
    to->set_type(entry.type);
    to->mutable_attrs()->insert(entry.attrs.begin(), entry.attrs.end());
  }
}

class Building {
 public:
  Building(const Connection& connection, const BuildRequest& request,
           const progress::Activity& activity)
      : connection_(connection),
        request_(request),
        activity_(activity),
        ref_(request.ref.empty() ? NewId() : request.ref) {}

  Result<BuildReport> Run() {
    TRY_ASSIGN(const auto session, SessionServer::Start(connection_, request_, activity_));
    TRY(FillSolve(session->id()));
    const auto stub = pb::Control::NewStub(connection_.channel());
    const auto on_cancel = activity_.cancel.OnCancel([this] {
      solve_context_.TryCancel();
      bridge_cancel_.Cancel();
    });
    grpc::Status solved;
    Background solve("kiln-solve",
                     [&] { solved = stub->Solve(&solve_context_, solve_, &solve_response_); });
    Background status("kiln-status", [&] { ReadStatus(*stub); });

    const Status driven = DriveBridge();
    if (!driven.ok() && !solve.WaitFor(kSolveGrace)) solve_context_.TryCancel();
    solve.Wait();
    if (!status.WaitFor(kStatusGrace)) status_context_.TryCancel();
    status.Wait();

    TRY(activity_.Check());
    // What went wrong here says more than what the daemon makes of the broken stream.
    TRY(session->output_status());
    if (!solved.ok()) {
      Error error = rpc::FromGrpc(solved);
      const bool vague = error.code() == Code::kCancelled || error.code() == Code::kNotFound;
      if (!driven.ok() && vague) return driven.error();
      return std::move(error.AddContext("failed to solve"));
    }
    TRY(driven);
    report_.ref = ref_;
    if (const std::string folder = LayoutDest(request_.outputs); !folder.empty()) {
      const auto& response = solve_response_.exporterresponse();
      TRY(NameInLayout(folder, {response.begin(), response.end()}, 0644 & ~request_.umask));
    }
    for (const auto& [key, value] : solve_response_.exporterresponse())
      report_.exporter_response[key] = value;
    return std::move(report_);
  }

 private:
  Status FillSolve(const std::string& session_id) {
    solve_.set_ref(ref_);
    solve_.set_session(session_id);
    solve_.set_internal(request_.internal);
    for (const auto& [key, value] : request_.frontend_attrs)
      (*solve_.mutable_frontendattrs())[key] = value;
    // Recorded with the build, and seen by nothing else: the frontend gets its own attributes.
    if (!request_.shared_key.empty())
      (*solve_.mutable_frontendattrs())[std::string(kContextAttr)] = request_.shared_key;
    for (const Output& output : request_.outputs) {
      auto* exporter = solve_.add_exporters();
      exporter->set_type(output.type);
      exporter->mutable_attrs()->insert(output.attrs.begin(), output.attrs.end());
    }
    for (const std::string& entitlement : request_.entitlements)
      solve_.add_entitlements(entitlement);
    FillCache(request_.cache_exports, solve_.mutable_cache()->mutable_exports());
    FillCache(request_.cache_imports, solve_.mutable_cache()->mutable_imports());
    if (!request_.source_policy.empty() &&
        !solve_.mutable_sourcepolicy()->ParseFromString(request_.source_policy)) {
      return InvalidArgument("the source policy is not a serialized Policy");
    }
    return OkStatus();
  }

  void ReadStatus(pb::Control::Stub& stub) {
    pb::StatusRequest request;
    request.set_ref(ref_);
    const auto stream = stub.Status(&status_context_, request);
    pb::StatusResponse response;
    while (stream->Read(&response)) Emit(response, *activity_.sink);
    stream->Finish();
  }

  // A bridge call's context: routed to this build, cancelled with it.
  struct BridgeCall {
    explicit BridgeCall(const Building& building) {
      context.AddMetadata(rpc::kBuildIdKey, building.ref_);
      link = building.bridge_cancel_.token().OnCancel([this] { context.TryCancel(); });
    }
    grpc::ClientContext context;
    std::unique_ptr<CancelCallback> link;
  };

  Status DriveBridge() {
    const auto stub = LLBBridge::NewStub(connection_.channel());
    {
      BridgeCall call(*this);
      pb::frontend::PongResponse pong;
      TRY(rpc::ToStatus(stub->Ping(&call.context, {}, &pong)));
    }
    pb::frontend::ReturnRequest back;
    Status solved = SolveOnBridge(*stub, back.mutable_result());
    if (!solved.ok()) {
      back.clear_result();
      rpc::ToProto(solved.error(), back.mutable_error());
    }
    BridgeCall call(*this);
    pb::frontend::ReturnResponse ignored;
    Status returned = rpc::ToStatus(stub->Return(&call.context, back, &ignored));
    TRY(std::move(solved));
    return returned;
  }

  Status SolveOnBridge(LLBBridge::Stub& stub, pb::frontend::Result* result) {
    pb::frontend::SolveRequest request;
    request.set_allowresultreturn(true);
    request.set_allowresultarrayref(true);
    if (request_.definition.empty()) {
      request.set_frontend(request_.frontend);
      for (const auto& [key, value] : request_.frontend_attrs)
        (*request.mutable_frontendopt())[key] = value;
    } else if (!request.mutable_definition()->ParseFromString(request_.definition)) {
      return InvalidArgument("the definition is not a serialized pb.Definition");
    }
    for (const CacheEntry& entry : request_.cache_imports) {
      auto* to = request.add_cacheimports();
      to->set_type(entry.type);
      to->mutable_attrs()->insert(entry.attrs.begin(), entry.attrs.end());
    }
    BridgeCall call(*this);
    pb::frontend::SolveResponse response;
    TRY(rpc::ToStatus(stub.Solve(&call.context, request, &response)));
    for (const auto& [key, value] : response.result().metadata()) report_.metadata[key] = value;
    result->Swap(response.mutable_result());
    return OkStatus();
  }

  const Connection& connection_;
  const BuildRequest& request_;
  const progress::Activity& activity_;
  const std::string ref_;
  pb::SolveRequest solve_;
  pb::SolveResponse solve_response_;
  grpc::ClientContext solve_context_;
  grpc::ClientContext status_context_;
  CancelSource bridge_cancel_;
  BuildReport report_;
};

}  // namespace

Result<BuildReport> Build(const Connection& connection, const BuildRequest& request,
                          const progress::Activity& activity) {
  return Building(connection, request, activity).Run();
}

}  // namespace kiln::client
