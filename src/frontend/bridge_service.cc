#include "frontend/bridge_service.h"

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "base/cancel.h"
#include "frontend/bridge_calls.h"
#include "rpc/metadata.h"
#include "rpc/status.h"

namespace kiln::frontend {
namespace {

// One call on its way: finds the bridge, then runs the work where `run` puts it, and answers with
// its Status.
class Call final : public grpc::ServerUnaryReactor {
 public:
  using Work = std::function<Status(const BridgePtr& bridge, const CancelToken& cancel)>;
  // An error: the work has not run and never will.
  using Run = std::function<Status(std::function<void()>)>;

  static grpc::ServerUnaryReactor* Start(const FindBridge& find,
                                         const grpc::CallbackServerContext* context,
                                         std::string method, Run run, Work work) {
    auto* call = new Call;
    const auto ids = rpc::MetadataValues(context->client_metadata(), rpc::kBuildIdKey);
    if (ids.size() != 1) {
      call->Answer(InvalidArgument("no buildid found in context"));
      return call;
    }
    find(ids[0], [call, method = std::move(method), run = std::move(run),
                  work = std::move(work)](Result<BridgePtr> bridge) {
      if (!bridge.ok()) {
        call->Answer(std::move(bridge.error().AddContext("forwarding " + method)));
        return;
      }
      // The call may be gone once its work has been handed over.
      const Status started =
          run([call, work, bridge = *std::move(bridge), cancel = call->cancel_->token()] {
            call->Answer(work(bridge, cancel));
          });
      if (!started.ok()) call->Answer(started);
    });
    return call;
  }

  void OnCancel() override { cancel_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  void Answer(const Status& status) { Finish(rpc::ToGrpc(status)); }

  std::unique_ptr<CancelSource> cancel_ = std::make_unique<CancelSource>();
};

grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context, const char* method) {
  auto* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(
      Unimplemented("{} is not served by this build server: it has no containers for clients "
                    "(capability gateway.exec)",
                    method)));
  return reactor;
}

class RefusedStream final : public grpc::ServerBidiReactor<wire::ExecMessage, wire::ExecMessage> {
 public:
  RefusedStream() {
    Finish(rpc::ToGrpc(
        Unimplemented("ExecProcess is not served by this build server: it has no containers for "
                      "clients (capability gateway.exec)")));
  }
  void OnDone() override { delete this; }
};

Status RunHere(const std::function<void()>& work) {
  work();
  return OkStatus();
}

// Work that ends with the call as well as with the build.
template <typename Request, typename Response>
Call::Work Blocking(Status (*function)(const BridgeCall&, const Request&, Response*),
                    const Request* request, Response* response) {
  return [=](const BridgePtr& bridge, const CancelToken& cancel) {
    const progress::Activity& build = bridge->gateway()->job()->activity();
    CancelSource both(build.cancel);
    const auto link = cancel.OnCancel([&] { both.Cancel(); });
    const progress::Activity activity = build.WithCancel(both.token());
    return function(BridgeCall{*bridge, activity}, *request, response);
  };
}

// What may wait for steps to run gets a thread of its own: on the pool it could wait for what waits
// behind it.
Call::Run OnThread(ThreadSet& threads) {
  return [&threads](std::function<void()> work) { return threads.Run(std::move(work)); };
}

Call::Run OnPool(WorkerPool& pool) {
  return [&pool](std::function<void()> work) {
    pool.Submit(std::move(work));
    return OkStatus();
  };
}

}  // namespace

grpc::ServerUnaryReactor* BridgeService::Ping(grpc::CallbackServerContext* context,
                                              const wire::PingRequest*,
                                              wire::PongResponse* response) {
  return Call::Start(find_, context, "Ping", RunHere,
                     [this, response](const BridgePtr&, const CancelToken&) {
                       frontend::Ping(worker_, response);
                       return OkStatus();
                     });
}

grpc::ServerUnaryReactor* BridgeService::Solve(grpc::CallbackServerContext* context,
                                               const wire::SolveRequest* request,
                                               wire::SolveResponse* response) {
  return Call::Start(find_, context, "Solve", OnThread(threads_),
                     Blocking(frontend::Solve, request, response));
}

grpc::ServerUnaryReactor* BridgeService::ResolveSourceMeta(
    grpc::CallbackServerContext* context, const wire::ResolveSourceMetaRequest* request,
    wire::ResolveSourceMetaResponse* response) {
  return Call::Start(find_, context, "ResolveSourceMeta", OnPool(blocking_),
                     Blocking(frontend::ResolveSourceMeta, request, response));
}

grpc::ServerUnaryReactor* BridgeService::ResolveImageConfig(
    grpc::CallbackServerContext* context, const wire::ResolveImageConfigRequest* request,
    wire::ResolveImageConfigResponse* response) {
  return Call::Start(find_, context, "ResolveImageConfig", OnPool(blocking_),
                     Blocking(frontend::ResolveImageConfig, request, response));
}

grpc::ServerUnaryReactor* BridgeService::ReadFile(grpc::CallbackServerContext* context,
                                                  const wire::ReadFileRequest* request,
                                                  wire::ReadFileResponse* response) {
  return Call::Start(find_, context, "ReadFile", OnThread(threads_),
                     Blocking(frontend::ReadFile, request, response));
}

grpc::ServerUnaryReactor* BridgeService::ReadDir(grpc::CallbackServerContext* context,
                                                 const wire::ReadDirRequest* request,
                                                 wire::ReadDirResponse* response) {
  return Call::Start(find_, context, "ReadDir", OnThread(threads_),
                     Blocking(frontend::ReadDir, request, response));
}

grpc::ServerUnaryReactor* BridgeService::StatFile(grpc::CallbackServerContext* context,
                                                  const wire::StatFileRequest* request,
                                                  wire::StatFileResponse* response) {
  return Call::Start(find_, context, "StatFile", OnThread(threads_),
                     Blocking(frontend::StatFile, request, response));
}

grpc::ServerUnaryReactor* BridgeService::Evaluate(grpc::CallbackServerContext* context,
                                                  const wire::EvaluateRequest* request,
                                                  wire::EvaluateResponse* response) {
  return Call::Start(find_, context, "Evaluate", OnThread(threads_),
                     Blocking(frontend::Evaluate, request, response));
}

grpc::ServerUnaryReactor* BridgeService::Inputs(grpc::CallbackServerContext* context,
                                                const wire::InputsRequest*,
                                                wire::InputsResponse* response) {
  return Call::Start(find_, context, "Inputs", RunHere,
                     [response](const BridgePtr& bridge, const CancelToken&) {
                       return frontend::Inputs(*bridge, response);
                     });
}

grpc::ServerUnaryReactor* BridgeService::Warn(grpc::CallbackServerContext* context,
                                              const wire::WarnRequest* request,
                                              wire::WarnResponse*) {
  return Call::Start(find_, context, "Warn", RunHere,
                     [request](const BridgePtr& bridge, const CancelToken&) {
                       return frontend::Warn(*bridge, *request);
                     });
}

grpc::ServerUnaryReactor* BridgeService::Return(grpc::CallbackServerContext* context,
                                                const wire::ReturnRequest* request,
                                                wire::ReturnResponse*) {
  return Call::Start(find_, context, "Return", RunHere,
                     [request](const BridgePtr& bridge, const CancelToken&) {
                       return frontend::Return(*bridge, *request);
                     });
}

grpc::ServerUnaryReactor* BridgeService::NewContainer(grpc::CallbackServerContext* context,
                                                      const wire::NewContainerRequest*,
                                                      wire::NewContainerResponse*) {
  return Refuse(context, "NewContainer");
}

grpc::ServerUnaryReactor* BridgeService::ReleaseContainer(grpc::CallbackServerContext* context,
                                                          const wire::ReleaseContainerRequest*,
                                                          wire::ReleaseContainerResponse*) {
  return Refuse(context, "ReleaseContainer");
}

grpc::ServerBidiReactor<wire::ExecMessage, wire::ExecMessage>* BridgeService::ExecProcess(
    grpc::CallbackServerContext*) {
  return new RefusedStream;
}

grpc::ServerUnaryReactor* BridgeService::ReadFileContainer(grpc::CallbackServerContext* context,
                                                           const wire::ReadFileRequest*,
                                                           wire::ReadFileResponse*) {
  return Refuse(context, "ReadFileContainer");
}

grpc::ServerUnaryReactor* BridgeService::ReadDirContainer(grpc::CallbackServerContext* context,
                                                          const wire::ReadDirRequest*,
                                                          wire::ReadDirResponse*) {
  return Refuse(context, "ReadDirContainer");
}

grpc::ServerUnaryReactor* BridgeService::StatFileContainer(grpc::CallbackServerContext* context,
                                                           const wire::StatFileRequest*,
                                                           wire::StatFileResponse*) {
  return Refuse(context, "StatFileContainer");
}

}  // namespace kiln::frontend
