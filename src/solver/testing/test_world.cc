#include "solver/testing/test_world.h"

namespace kiln::solver {

std::vector<std::string> RecordingSink::Story(const std::string& name) const {
  std::vector<std::string> story;
  for (const progress::Vertex& vertex : vertices) {
    if (vertex.name != name) continue;
    if (!vertex.started)
      story.push_back("announce");
    else if (!vertex.completed)
      story.push_back("start");
    else if (!vertex.error.empty())
      story.push_back("error: " + vertex.error);
    else
      story.push_back(vertex.cached ? "cached" : "done");
  }
  return story;
}

GraphBuilder& GraphBuilder::Add(const std::string& name, std::shared_ptr<FakeOp> op,
                                std::vector<In> inputs, bool ignore_cache) {
  VertexSpec spec;
  spec.name = name;
  spec.ignore_cache = ignore_cache;
  std::string identity = name + "\n" + op->spec().name;
  for (const In& in : inputs) {
    spec.inputs.push_back({at_.at(in.step), in.output});
    identity += specs_[at_.at(in.step)].digest.ToString();
  }
  spec.digest = Sha256Of(identity);
  spec.op_digest = FakeDigest(name + "\n" + op->spec().name);
  spec.op = std::move(op);
  at_[name] = specs_.size();
  specs_.push_back(std::move(spec));
  return *this;
}

TestWorld::TestWorld(SolverOptions options) : cache(std::make_shared<MemoryCache>("local")) {
  int next = 0;
  if (!options.new_id) {
    options.new_id = [next]() mutable { return "id" + std::to_string(next++); };
  }
  solver = std::make_unique<Solver>(loop, clock, cache, std::move(options));
}

TestWorld::~TestWorld() {
  outside.ReleaseAll();
  loop.RunAll();
}

TestWorld::Build TestWorld::NewBuild(const std::string& ref, std::vector<Importer> importers) {
  Build build;
  build.sink = std::make_shared<RecordingSink>();
  JobOptions options;
  options.ref = ref;
  options.session_ids = {"session-" + ref};
  options.sink = build.sink;
  options.importers = std::move(importers);
  auto job = solver->NewJob(std::move(options));
  CHECK(job.ok());
  build.job = *job;
  return build;
}

void TestWorld::Load(Build& build, const GraphBuilder& graph) {
  auto ids = build.job->Load(graph.specs());
  CHECK_MSG(ids.ok(), ids.ok() ? "" : ids.error().ToString());
  for (size_t i = 0; i < ids->size(); ++i) {
    build.steps[graph.specs()[i].name] = EdgeId{(*ids)[i], 0};
  }
}

std::shared_ptr<Answer> TestWorld::Ask(Build& build, const std::string& step, int output) {
  auto answer = std::make_shared<Answer>();
  EdgeId edge = build.steps.at(step);
  edge.output = output;
  build.job->Get(edge,
                 [answer](Result<ResultHandle> result) { answer->result = std::move(result); });
  Settle();
  return answer;
}

SolverStats TestWorld::Stats() {
  SolverStats stats;
  solver->Stats([&](SolverStats now) { stats = now; });
  Settle();
  return stats;
}

std::shared_ptr<FakeOp> TestWorld::NewOp(const std::string& name, std::vector<InputKey> inputs) {
  FakeOpSpec spec;
  spec.name = name;
  spec.inputs = std::move(inputs);
  return NewOp(std::move(spec));
}

}  // namespace kiln::solver
