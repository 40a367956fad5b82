#include "frontend/testing/test_build.h"

#include <stdlib.h>

#include <future>
#include <utility>

#include "base/check.h"
#include "build/files.h"
#include "frontend/dockerfile_frontend.h"
#include "llb/definition.h"
#include "llb/marshal.h"
#include "ops/file_op.h"
#include "sys/file_info.h"

namespace kiln::frontend {

void RecordingSink::OnVertex(const progress::Vertex& vertex) {
  MutexLock lock(mutex_);
  if (vertex.started) names_.push_back(vertex.name);
}

void RecordingSink::OnWarning(const progress::VertexWarning& warning) {
  MutexLock lock(mutex_);
  warnings_.push_back(warning);
}

std::vector<progress::VertexWarning> RecordingSink::warnings() const {
  MutexLock lock(mutex_);
  return warnings_;
}

std::vector<std::string> RecordingSink::names() const {
  MutexLock lock(mutex_);
  return names_;
}

TestBuild::TestBuild(build::SourceRewriter rewrite) {
  const char* base = getenv("TMPDIR");
  files["local://context"];  // an empty folder
  root_ = std::string(base != nullptr ? base : "/tmp") + "/kiln-frontend-XXXXXX";
  CHECK(mkdtemp(root_.data()) != nullptr);
  auto store = store::Store::Open({.root = root_ + "/store", .ballast_bytes = 0});
  CHECK_MSG(store.ok(), store.ok() ? "" : store.error().ToString());
  store_ = std::move(*store);
  auto cache = cachedb::CacheDb::Open(root_ + "/cache.db", *store_);
  CHECK_MSG(cache.ok(), cache.ok() ? "" : cache.error().ToString());
  cache_ = std::move(*cache);
  pool_ = std::make_unique<WorkerPool>("frontend-test", 16);
  loop_ = std::make_unique<EventLoop>("test-solver");
  solver_ = std::make_unique<solver::Solver>(*loop_, clock_, cache_);
  factory_ = std::make_unique<ops::Factory>(ops::Services{*store_, *pool_, clock_});
  factory_->Register(llb::OpKind::kSource,
                     [this](const llb::Vertex& vertex, const ops::OpOptions& options) {
                       return MakeSource(vertex, options);
                     });
  environment_.solver = solver_.get();
  environment_.store = store_.get();
  environment_.ops = factory_.get();
  environment_.clock = &clock_;
  environment_.blocking = pool_.get();
  services_.clock = &clock_;
  services_.platforms = {{"linux", "amd64", "", "", {}}};
  services_.frontends["dockerfile.v0"] = std::make_shared<DockerfileFrontend>();
  services_.frontends["gateway.v0"] = std::make_shared<GatewayFrontend>();
  build::JobOptions options;
  options.ref = "test";
  options.session_ids = {"session"};
  options.sink = sink_;
  options.rewrite_source = std::move(rewrite);
  auto job = build::Job::Start(environment_, std::move(options));
  CHECK_MSG(job.ok(), job.ok() ? "" : job.error().ToString());
  gateway_ = std::make_shared<Gateway>(services_, std::move(*job), "session");
}

TestBuild::~TestBuild() {
  gateway_.reset();
  std::promise<void> drained;
  solver_->Drain([&] { drained.set_value(); });
  drained.get_future().wait();
  pool_.reset();
  solver_.reset();
  loop_.reset();
  factory_.reset();
  cache_.reset();
  store_.reset();
  (void)sys::RemoveTree(root_);
}

BridgePtr TestBuild::MakeBridge(Request request) {
  return std::make_shared<Bridge>(gateway_, std::move(request));
}

std::string TestBuild::Read(const build::ReferencePtr& reference, const std::string& path) {
  if (reference == nullptr) return "no reference";
  auto text = build::ReadFile(activity(), *reference, path);
  return text.ok() ? *text : text.error().ToString();
}

// A source is a file op that writes its files: what matters here is what comes out.
Result<solver::OpPtr> TestBuild::MakeSource(const llb::Vertex& vertex,
                                            const ops::OpOptions& options) {
  const std::string& identifier = vertex.op.source().identifier();
  const auto found = files.find(identifier);
  if (found == files.end()) return NotFound("no source {}", identifier);
  std::vector<llb::FileAction> actions;
  actions.emplace_back(llb::MkdirAction{"/.made", 0755, true});
  for (const auto& [path, data] : found->second) {
    llb::MkfileAction file;
    file.path = "/" + path;
    file.data = data;
    actions.emplace_back(std::move(file));
  }
  TRY_ASSIGN(const pb::Definition definition, llb::Marshal(llb::File({}, std::move(actions))));
  TRY_ASSIGN(llb::Graph graph, llb::Load(definition));
  return ops::MakeFileOp({*store_, *pool_, clock_}, graph.vertices.at(0), options);
}

}  // namespace kiln::frontend
