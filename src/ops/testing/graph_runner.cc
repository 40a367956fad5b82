#include "ops/testing/graph_runner.h"

#include <stdlib.h>

#include <future>
#include <utility>

#include "cachedb/snapshot_result.h"
#include "llb/definition.h"
#include "llb/marshal.h"
#include "sys/file_info.h"

namespace kiln::ops {
namespace {

class PlainContext final : public solver::RunContext {
 public:
  PlainContext(progress::Activity activity, std::vector<solver::StoredResultPtr> inputs)
      : activity_(std::move(activity)) {
    for (auto& input : inputs) inputs_.emplace_back(solver::EdgeId(), 1, std::move(input));
  }
  const progress::Activity& activity() const override { return activity_; }
  const std::vector<solver::ResultHandle>& inputs() const override { return inputs_; }
  Result<std::shared_ptr<solver::Scope>> OpenScope() override {
    return Unimplemented("no nested graphs here");
  }

 private:
  progress::Activity activity_;
  std::vector<solver::ResultHandle> inputs_;
};

}  // namespace

GraphRunner::GraphRunner() {
  const char* base = getenv("TMPDIR");
  root_ = std::string(base != nullptr ? base : "/tmp") + "/kiln-ops-XXXXXX";
  CHECK(mkdtemp(root_.data()) != nullptr);
  auto store = store::Store::Open({.root = root_ + "/store", .ballast_bytes = 0});
  CHECK_MSG(store.ok(), store.ok() ? "" : store.error().ToString());
  store_ = std::move(*store);
  pool_ = std::make_unique<WorkerPool>("ops-test", 4);
  factory_ = std::make_unique<Factory>(services());
}

GraphRunner::~GraphRunner() {
  factory_.reset();
  pool_.reset();
  store_.reset();
  (void)sys::RemoveTree(root_);
}

Result<solver::RunOutput> GraphRunner::RunOp(solver::Op& op,
                                             std::vector<solver::StoredResultPtr> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::promise<Status> prepared;
    op.Prepare(static_cast<int>(i), solver::ResultHandle(solver::EdgeId(), 1, inputs[i]), activity_,
               [&](Status status) { prepared.set_value(std::move(status)); });
    TRY(prepared.get_future().get());
  }
  std::promise<Result<solver::RunOutput>> promise;
  op.Run(std::make_shared<PlainContext>(activity_, std::move(inputs)),
         [&](Result<solver::RunOutput> output) { promise.set_value(std::move(output)); });
  return promise.get_future().get();
}

Result<std::vector<solver::StoredResultPtr>> GraphRunner::RunVertices(const llb::Graph& graph,
                                                                      size_t count,
                                                                      std::vector<Step>& steps) {
  auto inputs_of = [&](const llb::Vertex& vertex) {
    std::vector<solver::StoredResultPtr> inputs;
    for (const llb::Edge& edge : vertex.inputs)
      inputs.push_back(steps[edge.vertex].results[edge.output]);
    return inputs;
  };
  for (size_t i = 0; i < count; ++i) {
    Step step;
    TRY_ASSIGN(step.op, factory_->Make(graph, static_cast<uint32_t>(i)));
    TRY_ASSIGN(solver::RunOutput output, RunOp(*step.op, inputs_of(graph.vertices[i])));
    step.results = std::move(output.results);
    steps.push_back(std::move(step));
  }
  return inputs_of(graph.vertices[std::min(count, graph.vertices.size() - 1)]);
}

Result<store::SnapshotRef> GraphRunner::Run(const llb::Output& output) {
  if (output.scratch()) return store::SnapshotRef();
  TRY_ASSIGN(pb::Definition definition, llb::Marshal(output));
  TRY_ASSIGN(llb::Graph graph, llb::Load(definition));
  std::vector<Step> steps;
  TRY(RunVertices(graph, graph.vertices.size(), steps));
  return cachedb::RefOf(steps[graph.root.vertex].results[graph.root.output]);
}

Result<std::string> GraphRunner::ContentDigest(const llb::Output& output, int input) {
  TRY_ASSIGN(pb::Definition definition, llb::Marshal(output));
  TRY_ASSIGN(llb::Graph graph, llb::Load(definition));
  std::vector<Step> steps;
  TRY_ASSIGN(auto inputs, RunVertices(graph, graph.vertices.size() - 1, steps));
  TRY_ASSIGN(auto op, factory_->Make(graph, static_cast<uint32_t>(graph.vertices.size() - 1)));
  std::promise<Result<std::string>> promise;
  op->ContentDigest(input, solver::ResultHandle(solver::EdgeId(), 1, inputs[input]), activity_,
                    [&](Result<std::string> digest) { promise.set_value(std::move(digest)); });
  return promise.get_future().get();
}

std::string GraphRunner::Read(const store::SnapshotRef& ref, const std::string& path) {
  auto tree = ref.is_scratch() ? Result<store::TreeView>(store::TreeView()) : store_->Tree(ref);
  CHECK(tree.ok());
  auto text = tree->ReadFile(path);
  if (text.ok()) return *text;
  return text.error().code() == Code::kNotFound ? "<missing>" : text.error().ToString();
}

std::string GraphRunner::Describe(const store::SnapshotRef& ref, const std::string& path) {
  auto tree = ref.is_scratch() ? Result<store::TreeView>(store::TreeView()) : store_->Tree(ref);
  CHECK(tree.ok());
  auto entry = tree->Lookup(path, store::Follow::kNo);
  if (!entry.ok())
    return entry.error().code() == Code::kNotFound ? "<missing>" : entry.error().ToString();
  const store::TreeNode& node = *entry->node;
  std::string text = fmt::format("{:04o} {}:{}", node.mode & 07777, node.uid, node.gid);
  if (node.IsSymlink()) text += " -> " + node.link_target;
  return text;
}

std::vector<std::string> GraphRunner::List(const store::SnapshotRef& ref) {
  auto tree = ref.is_scratch() ? Result<store::TreeView>(store::TreeView()) : store_->Tree(ref);
  CHECK(tree.ok());
  std::vector<std::string> paths;
  auto root = tree->Root();
  CHECK(root.ok());
  Status status = tree->Walk(*root, [&](const store::TreeEntry& entry) -> Result<bool> {
    if (entry.path != "/") paths.push_back(entry.path + (entry.node->IsDirectory() ? "/" : ""));
    return true;
  });
  CHECK(status.ok());
  return paths;
}

std::optional<int64_t> GraphRunner::MtimeNs(const store::SnapshotRef& ref,
                                            const std::string& path) {
  auto tree = store_->Tree(ref);
  CHECK(tree.ok());
  auto entry = tree->Lookup(path, store::Follow::kNo);
  if (!entry.ok()) return std::nullopt;
  return entry->node->mtime_ns;
}

}  // namespace kiln::ops
