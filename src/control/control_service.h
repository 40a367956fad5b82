#pragma once

#include <moby/buildkit/v1/control.grpc.pb.h>

#include <string>

#include "base/clock.h"
#include "base/pool.h"
#include "cdi/registry.h"
#include "control/job_table.h"
#include "control/recorder.h"
#include "control/worker_info.h"
#include "rpc/poller.h"
#include "session/manager.h"
#include "store/usage.h"

namespace kiln::control {

// Runs builds. One call per Solve, on a thread that may block.
class Solver {
 public:
  virtual ~Solver() = default;
  // The whole of Control.Solve; `job` is registered and its progress open. Returns when the answer
  // is due; the caller then ends the job. `made` is for the build's record.
  virtual Status Solve(const LiveJobPtr& job, const moby::buildkit::v1::SolveRequest& request,
                       moby::buildkit::v1::SolveResponse* response, BuildOutcome* made) = 0;
};

// What the cache holds, and what is collected when.
class Collector {
 public:
  virtual ~Collector() = default;
  virtual Result<std::vector<store::UsageRecord>> DiskUsage(const std::vector<std::string>& filters,
                                                            std::chrono::nanoseconds age_limit) = 0;
  // Removes what the rule allows, then forgets cached steps whose results are gone.
  virtual kiln::Status Prune(const progress::Activity& activity, const store::PruneRule& rule,
                             const store::PrunedFn& pruned) = 0;
  // After a build: collects by the configured rules, soon and not too often. Returns at once.
  virtual void Poke() = 0;
};

// moby.buildkit.v1.Control.
class ControlService final : public moby::buildkit::v1::Control::CallbackService {
 public:
  // Everything outlives the service.
  struct Parts {
    JobTable* jobs = nullptr;
    session::Manager* sessions = nullptr;
    rpc::Poller* poller = nullptr;
    WorkerPool* blocking = nullptr;
    // One thread per Solve: they wait for what runs on `blocking`.
    WorkerPool* builds = nullptr;
    const Clock* clock = nullptr;
    const WorkerInfo* worker = nullptr;
    cdi::Registry* devices = nullptr;  // null: there are none
    Solver* solver = nullptr;
    Collector* collector = nullptr;
    history::History* history = nullptr;
    store::Store* store = nullptr;
    TaskQueue* timers = nullptr;
  };

  explicit ControlService(const Parts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* DiskUsage(grpc::CallbackServerContext* context,
                                      const moby::buildkit::v1::DiskUsageRequest* request,
                                      moby::buildkit::v1::DiskUsageResponse* response) override;
  grpc::ServerWriteReactor<moby::buildkit::v1::UsageRecord>* Prune(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::PruneRequest* request) override;
  grpc::ServerUnaryReactor* Solve(grpc::CallbackServerContext* context,
                                  const moby::buildkit::v1::SolveRequest* request,
                                  moby::buildkit::v1::SolveResponse* response) override;
  grpc::ServerWriteReactor<moby::buildkit::v1::StatusResponse>* Status(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::StatusRequest* request) override;
  grpc::ServerBidiReactor<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>*
  Session(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const moby::buildkit::v1::ListWorkersRequest* request,
                                        moby::buildkit::v1::ListWorkersResponse* response) override;
  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context,
                                 const moby::buildkit::v1::InfoRequest* request,
                                 moby::buildkit::v1::InfoResponse* response) override;
  grpc::ServerWriteReactor<moby::buildkit::v1::BuildHistoryEvent>* ListenBuildHistory(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::BuildHistoryRequest* request) override;
  grpc::ServerUnaryReactor* UpdateBuildHistory(
      grpc::CallbackServerContext* context,
      const moby::buildkit::v1::UpdateBuildHistoryRequest* request,
      moby::buildkit::v1::UpdateBuildHistoryResponse* response) override;

 private:
  kiln::Status AddWorkers(const moby::buildkit::v1::ListWorkersRequest& request,
                          moby::buildkit::v1::ListWorkersResponse* response);

  const Parts parts_;
};

}  // namespace kiln::control
