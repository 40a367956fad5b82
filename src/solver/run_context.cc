#include "solver/run_context.h"

#include "solver/engine.h"
#include "solver/scope_handle.h"

namespace kiln::solver {

RunContextImpl::RunContextImpl(std::weak_ptr<Engine> engine, const FlightPtr& flight)
    : engine_(std::move(engine)),
      flight_(flight),
      inputs_(flight->inputs),
      name_(flight->name),
      depth_(flight->depth) {
  activity_.cancel = flight->cancel.token();
  activity_.sink = flight->sink;
  activity_.sessions = flight->sink;
  const RunNeeds needs = flight->op->needs();
  holds_ = needs.slot != SlotKind::kNone || !needs.locks.empty();
}

Result<std::shared_ptr<Scope>> RunContextImpl::OpenScope() {
  const auto engine = engine_.lock();
  const FlightPtr flight = flight_.lock();
  if (engine == nullptr || flight == nullptr) return Cancelled("{}: the run has ended", name_);
  if (holds_) {
    return FailedPrecondition("{}: a run that holds a slot or a lock cannot solve a graph", name_);
  }
  if (depth_ + 1 > engine->options().max_nesting) {
    return ResourceExhausted("{}: graphs are nested more than {} deep", name_,
                             engine->options().max_nesting);
  }
  const uint64_t serial = engine->NewSerial();
  engine->Post([raw = engine.get(), serial, flight] { raw->OpenNested(serial, flight); });
  return std::shared_ptr<Scope>(std::make_shared<ScopeHandle<Scope>>(engine, serial));
}

}  // namespace kiln::solver
