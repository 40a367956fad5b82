#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <utility>

#include "base/cancel.h"
#include "base/pool.h"
#include "base/result.h"
#include "rpc/status.h"

namespace kiln::control {

// A unary RPC whose work blocks: runs on a pool, is cancelled with the RPC, answers with the work's
// Status. Request and response live until it has answered. Nothing of it is touched behind Finish.
class BlockingCall final : public grpc::ServerUnaryReactor {
 public:
  using Work = std::function<Status(const CancelToken& cancel)>;

  static grpc::ServerUnaryReactor* Run(WorkerPool& pool, Work work) {
    auto* call = new BlockingCall;
    pool.Submit([call, work = std::move(work), cancel = call->cancel_->token()] {
      call->Finish(rpc::ToGrpc(work(cancel)));
    });
    return call;
  }

  void OnCancel() override { cancel_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  std::unique_ptr<CancelSource> cancel_ = std::make_unique<CancelSource>();
};

}  // namespace kiln::control
