#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mutex.h"
#include "base/pool.h"
#include "build/job.h"
#include "cachedb/cachedb.h"
#include "frontend/bridge.h"
#include "frontend/gateway.h"
#include "ops/factory.h"
#include "progress/progress.h"
#include "solver/solver.h"
#include "store/store.h"

namespace kiln::frontend {

// Keeps what it is told.
class RecordingSink final : public progress::Sink {
 public:
  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus&) override {}
  void OnLog(const progress::VertexLog&) override {}
  void OnWarning(const progress::VertexWarning& warning) override;

  std::vector<progress::VertexWarning> warnings() const;
  // Of vertices that were started.
  std::vector<std::string> names() const;

 private:
  mutable Mutex mutex_;
  std::vector<progress::VertexWarning> warnings_ GUARDED_BY(mutex_);
  std::vector<std::string> names_ GUARDED_BY(mutex_);
};

// A daemon's inside without registries, clients and containers: store, solver and file ops in a
// folder of its own, one job, one gateway. Local sources are folders made of `files`.
class TestBuild {
 public:
  // `rewrite` is the build's source policy.
  explicit TestBuild(build::SourceRewriter rewrite = {});
  ~TestBuild();
  TestBuild(const TestBuild&) = delete;
  TestBuild& operator=(const TestBuild&) = delete;

  // By source identifier ("local://context"), then path. Set before use.
  std::map<std::string, std::map<std::string, std::string>> files;

  const GatewayPtr& gateway() const { return gateway_; }
  const progress::Activity& activity() const { return gateway_->job()->activity(); }
  BridgePtr MakeBridge(Request request = {});
  RecordingSink& sink() { return *sink_; }
  WorkerPool& pool() { return *pool_; }
  // A file of what a reference holds, or the error's text.
  std::string Read(const build::ReferencePtr& reference, const std::string& path);

 private:
  Result<solver::OpPtr> MakeSource(const llb::Vertex& vertex, const ops::OpOptions& options);

  std::string root_;
  SystemClock clock_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<EventLoop> loop_;
  std::shared_ptr<cachedb::CacheDb> cache_;
  std::unique_ptr<solver::Solver> solver_;
  std::unique_ptr<ops::Factory> factory_;
  build::Environment environment_;
  Services services_;
  std::shared_ptr<RecordingSink> sink_ = std::make_shared<RecordingSink>();
  GatewayPtr gateway_;
};

}  // namespace kiln::frontend
