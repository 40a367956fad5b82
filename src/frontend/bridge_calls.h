#pragma once

#include "base/result.h"
#include "frontend/bridge.h"
#include "frontend/result_proto.h"
#include "moby/buildkit/v1/frontend/gateway.pb.h"
#include "moby/buildkit/v1/types/worker.pb.h"
#include "progress/activity.h"

// What LLBBridge's calls do, as plain functions on a bridge: no gRPC here. Those with an Activity
// block.
namespace kiln::frontend {

struct BridgeCall {
  Bridge& bridge;
  const progress::Activity& activity;
};

// The capabilities of this build server and its worker.
void Ping(const ::moby::buildkit::v1::types::WorkerRecord& worker, wire::PongResponse* response);

Status Solve(const BridgeCall& call, const wire::SolveRequest& request,
             wire::SolveResponse* response);
Status ResolveSourceMeta(const BridgeCall& call, const wire::ResolveSourceMetaRequest& request,
                         wire::ResolveSourceMetaResponse* response);
Status ResolveImageConfig(const BridgeCall& call, const wire::ResolveImageConfigRequest& request,
                          wire::ResolveImageConfigResponse* response);
Status ReadFile(const BridgeCall& call, const wire::ReadFileRequest& request,
                wire::ReadFileResponse* response);
Status ReadDir(const BridgeCall& call, const wire::ReadDirRequest& request,
               wire::ReadDirResponse* response);
Status StatFile(const BridgeCall& call, const wire::StatFileRequest& request,
                wire::StatFileResponse* response);
Status Evaluate(const BridgeCall& call, const wire::EvaluateRequest& request,
                wire::EvaluateResponse* response);
Status Inputs(Bridge& bridge, wire::InputsResponse* response);
Status Warn(Bridge& bridge, const wire::WarnRequest& request);
Status Return(Bridge& bridge, const wire::ReturnRequest& request);

}  // namespace kiln::frontend
