#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/pool.h"
#include "base/result.h"
#include "base/thread_set.h"
#include "frontend/bridge.h"
#include "moby/buildkit/v1/frontend/gateway.grpc.pb.h"

namespace kiln::frontend {

namespace wire = ::moby::buildkit::v1::frontend;

// Finds the bridge of a build, waiting a little for one that is not registered yet. `done` may run
// on any thread.
using FindBridge =
    std::function<void(const std::string& build_id, std::function<void(Result<BridgePtr>)> done)>;

// moby.buildkit.v1.frontend.LLBBridge on the control socket, for all builds: calls go to the bridge
// whose build ref stands in the metadata. Handlers never block: what waits for steps runs on
// threads of its own, other work on `blocking`.
class BridgeService final : public ::moby::buildkit::v1::frontend::LLBBridge::CallbackService {
 public:
  // Of all builds together, at work or waiting for steps; more are refused.
  static constexpr size_t kMaxRequests = 4096;

  // `worker` is what Ping tells. Everything outlives the service.
  BridgeService(FindBridge find, WorkerPool& blocking,
                ::moby::buildkit::v1::types::WorkerRecord worker,
                size_t max_requests = kMaxRequests)
      : find_(std::move(find)),
        blocking_(blocking),
        worker_(std::move(worker)),
        threads_("kiln-bridge", max_requests) {}

  grpc::ServerUnaryReactor* Ping(grpc::CallbackServerContext* context,
                                 const wire::PingRequest* request,
                                 wire::PongResponse* response) override;
  grpc::ServerUnaryReactor* Solve(grpc::CallbackServerContext* context,
                                  const wire::SolveRequest* request,
                                  wire::SolveResponse* response) override;
  grpc::ServerUnaryReactor* ResolveSourceMeta(grpc::CallbackServerContext* context,
                                              const wire::ResolveSourceMetaRequest* request,
                                              wire::ResolveSourceMetaResponse* response) override;
  grpc::ServerUnaryReactor* ResolveImageConfig(grpc::CallbackServerContext* context,
                                               const wire::ResolveImageConfigRequest* request,
                                               wire::ResolveImageConfigResponse* response) override;
  grpc::ServerUnaryReactor* ReadFile(grpc::CallbackServerContext* context,
                                     const wire::ReadFileRequest* request,
                                     wire::ReadFileResponse* response) override;
  grpc::ServerUnaryReactor* ReadDir(grpc::CallbackServerContext* context,
                                    const wire::ReadDirRequest* request,
                                    wire::ReadDirResponse* response) override;
  grpc::ServerUnaryReactor* StatFile(grpc::CallbackServerContext* context,
                                     const wire::StatFileRequest* request,
                                     wire::StatFileResponse* response) override;
  grpc::ServerUnaryReactor* Evaluate(grpc::CallbackServerContext* context,
                                     const wire::EvaluateRequest* request,
                                     wire::EvaluateResponse* response) override;
  grpc::ServerUnaryReactor* Inputs(grpc::CallbackServerContext* context,
                                   const wire::InputsRequest* request,
                                   wire::InputsResponse* response) override;
  grpc::ServerUnaryReactor* Warn(grpc::CallbackServerContext* context,
                                 const wire::WarnRequest* request,
                                 wire::WarnResponse* response) override;
  grpc::ServerUnaryReactor* Return(grpc::CallbackServerContext* context,
                                   const wire::ReturnRequest* request,
                                   wire::ReturnResponse* response) override;

  // Containers (gateway.exec) are not served.
  grpc::ServerUnaryReactor* NewContainer(grpc::CallbackServerContext* context,
                                         const wire::NewContainerRequest* request,
                                         wire::NewContainerResponse* response) override;
  grpc::ServerUnaryReactor* ReleaseContainer(grpc::CallbackServerContext* context,
                                             const wire::ReleaseContainerRequest* request,
                                             wire::ReleaseContainerResponse* response) override;
  grpc::ServerBidiReactor<wire::ExecMessage, wire::ExecMessage>* ExecProcess(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ReadFileContainer(grpc::CallbackServerContext* context,
                                              const wire::ReadFileRequest* request,
                                              wire::ReadFileResponse* response) override;
  grpc::ServerUnaryReactor* ReadDirContainer(grpc::CallbackServerContext* context,
                                             const wire::ReadDirRequest* request,
                                             wire::ReadDirResponse* response) override;
  grpc::ServerUnaryReactor* StatFileContainer(grpc::CallbackServerContext* context,
                                              const wire::StatFileRequest* request,
                                              wire::StatFileResponse* response) override;

 private:
  const FindBridge find_;
  WorkerPool& blocking_;
  const ::moby::buildkit::v1::types::WorkerRecord worker_;
  ThreadSet threads_;
};

}  // namespace kiln::frontend
