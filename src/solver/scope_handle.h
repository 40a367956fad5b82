#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "solver/engine.h"
#include "solver/scope.h"

namespace kiln::solver {

// The identities of a graph's steps; `salt` is the scope's serial, for steps under ignore-cache.
Result<std::vector<VertexId>> Identify(const std::vector<VertexSpec>& graph, uint64_t salt);

// A scope as users hold it: posts to the engine's loop. `Base` is Scope or Job.
template <typename Base>
class ScopeHandle : public Base {
 public:
  ScopeHandle(const std::shared_ptr<Engine>& engine, uint64_t serial)
      : engine_(engine), serial_(serial) {}
  ~ScopeHandle() override { ScopeHandle::Discard(nullptr); }
  ScopeHandle(const ScopeHandle&) = delete;
  ScopeHandle& operator=(const ScopeHandle&) = delete;

  Result<std::vector<VertexId>> Load(std::vector<VertexSpec> graph) override {
    TRY_ASSIGN(std::vector<VertexId> ids, Identify(graph, serial_));
    Post([serial = serial_, graph = std::move(graph), ids](Engine& engine) mutable {
      engine.Load(serial, std::move(graph), ids);
    });
    return ids;
  }

  void AddImporter(Importer importer) override {
    Post([serial = serial_, importer](Engine& engine) { engine.AddImporter(serial, importer); });
  }

  AskId Get(EdgeId edge, Callback<ResultHandle> done) override {
    return Ask(done, [serial = serial_, edge, done](Engine& engine, AskId ask) {
      engine.Get(serial, ask, edge, done);
    });
  }

  void Withdraw(AskId ask, Error reason) override {
    Post([serial = serial_, ask, reason](Engine& engine) { engine.Withdraw(serial, ask, reason); });
  }

  AskId Repair(const ResultHandle& lost, Error error, Callback<ResultHandle> done) override {
    return Ask(done, [serial = serial_, lost, error, done](Engine& engine, AskId ask) {
      engine.Repair(serial, ask, lost, error, done);
    });
  }

  void Export(std::vector<EdgeId> edges, Callback<ExportGraph> done) override {
    Post([serial = serial_, edges, done](Engine& engine) { engine.Export(serial, edges, done); });
  }

  void Cancel(Error reason) override {
    Post([serial = serial_, reason](Engine& engine) { engine.Cancel(serial, reason); });
  }

  void Discard(std::function<void()> done) override {
    Post([serial = serial_, done](Engine& engine) { engine.Discard(serial, done); });
  }

 protected:
  template <typename F>
  void Post(F task) {
    const auto engine = engine_.lock();
    if (engine == nullptr) return;
    engine->Post([raw = engine.get(), task = std::move(task)]() mutable { task(*raw); });
  }

  template <typename F>
  AskId Ask(const Callback<ResultHandle>& done, F task) {
    const auto engine = engine_.lock();
    if (engine == nullptr) {
      done(Unavailable("the solver has been shut down"));
      return 0;
    }
    const AskId ask = engine->NewSerial();
    engine->Post([raw = engine.get(), ask, task = std::move(task)]() mutable { task(*raw, ask); });
    return ask;
  }

  std::weak_ptr<Engine> engine_;
  const uint64_t serial_;
};

}  // namespace kiln::solver
