#include "solver/engine.h"
#include "solver/failure.h"
#include "solver/lost.h"

namespace kiln::solver {

// No record will do: get ready to run.
void Engine::Need(Edge& edge) {
  if (edge.preparation && !PreparationValid(edge)) {
    DropPreparation(edge);
  }
  if (!edge.preparation) {
    edge.phase = Phase::kNeed;
    if (!InputsReady(edge) || !SourcesSettled(edge)) return;
    StartPrepare(edge);
  }
  if (!edge.preparation) return;  // failed at once
  edge.phase = Phase::kPrepare;
  if (edge.preparation->open == 0) LastMatch(edge);
}

// All inputs Done, all content digests known, all of a root's keys learnt (for saving).
bool Engine::InputsReady(Edge& edge) {
  if (edge.vertex->is_root() && !edge.vertex->all_parts()) {
    RequestPart(*edge.vertex);
    return false;
  }
  bool ready = true;
  const KeyMapPart& part = edge.vertex->parts.front();
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    SetAsk(edge, i, Level::kDone);
    if (edge.inputs[i].edge->phase != Phase::kDone) ready = false;
    if (part.inputs[i].has_content_digest && !WantDigest(edge, i)) ready = false;
  }
  return ready;
}

bool Engine::PreparationValid(const Edge& edge) const {
  const KeyMapPart& part = edge.vertex->parts.front();
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    const Edge& from = *edge.inputs[i].edge;
    if (from.phase != Phase::kDone ||
        from.generation != edge.preparation->handles[i].generation()) {
      return false;
    }
    if (part.inputs[i].has_content_digest && ContentKey(edge, i) == nullptr) return false;
  }
  return true;
}

void Engine::StartPrepare(Edge& edge) {
  Preparation& preparation = edge.preparation.emplace();
  preparation.tickets.resize(edge.inputs.size());
  for (const EdgeInput& input : edge.inputs) {
    const Edge& from = *input.edge;
    preparation.handles.emplace_back(from.id(), from.generation, from.result);
    if (from.result != nullptr) ++preparation.open;
  }
  for (size_t i = 0; i < edge.inputs.size(); ++i) {
    const ResultHandle& handle = preparation.handles[i];
    if (handle.result() == nullptr) continue;
    // Fetching what is lazy shows as the step that promised it.
    TicketPtr& ticket = preparation.tickets[i];
    ticket = NewTicket(edge.inputs[i].edge->vertex, handle.result()->lazy());
    ticket->op = edge.vertex->op;
    edge.vertex->op->Prepare(static_cast<int>(i), handle, ActivityFor(*ticket),
                             Bind<void>(ticket, [this, &edge, i](const Status& status) {
                               OnPrepared(edge, i, status);
                             }));
  }
}

void Engine::OnPrepared(Edge& edge, size_t index, const Status& status) {
  Preparation& preparation = *edge.preparation;
  EndTicket(preparation.tickets[index], status.ok() ? "" : status.error().ToString());
  if (status.ok()) {
    if (--preparation.open == 0) MarkDirty(edge);
    return;
  }
  const ResultHandle handle = preparation.handles[index];
  DropPreparation(edge);
  edge.phase = Phase::kNeed;
  if (IsLost(status.error())) {
    InputLost(*edge.vertex, index, handle, status.error());
  } else {
    Fail(edge, WithFailedVertex(status.error(), edge.vertex->digest), true);
  }
}

void Engine::DropPreparation(Edge& edge) {
  if (!edge.preparation) return;
  for (TicketPtr& ticket : edge.preparation->tickets) DropTicket(ticket);
  edge.preparation.reset();
}

// Asks the local source once more, about all outputs: since the first lookups others may have
// committed.
void Engine::LastMatch(Edge& edge) {
  Preparation& preparation = *edge.preparation;
  SourceMatch& local = edge.sources.front();
  if (local.open > 0) return;
  if (!preparation.matched || preparation.stale) {
    const bool skip = faults_.no_last_match && !preparation.matched;
    preparation.matched = true;
    preparation.stale = false;
    last_matches_[edge.vertex->parts.front().digest].insert(&edge);
    if (!skip) {
      local.answers.clear();
      local.info.clear();
      if (edge.vertex->is_root()) {
        IssueLookups(edge);
      } else {
        std::vector<LinkTuple> tuples;
        for (int output = 0; output < edge.vertex->op->output_count(); ++output) {
          AskLinks(edge, local, output, true, tuples);
        }
        SendLinks(edge, local, std::move(tuples));
      }
    }
    if (local.open > 0) return;
  }
  EnterFlight(edge);
}

}  // namespace kiln::solver
