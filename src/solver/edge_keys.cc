#include "solver/engine.h"
#include "solver/failure.h"
#include "solver/lost.h"

namespace kiln::solver {
namespace {

Status CheckPart(const Vertex& vertex, const KeyMapPart& part) {
  if (part.digest.empty()) return Internal("{}: key map without digest", vertex.name);
  if (part.inputs.size() != vertex.inputs.size()) {
    return Internal("{}: key map for {} inputs, has {}", vertex.name, part.inputs.size(),
                    vertex.inputs.size());
  }
  if (!part.last && !vertex.is_root()) {
    return Internal("{}: only ops without inputs have several keys", vertex.name);
  }
  return OkStatus();
}

}  // namespace

bool Engine::EnsureKeyMap(Edge& edge) {
  Vertex& vertex = *edge.vertex;
  if (!vertex.parts.empty()) return true;
  RequestPart(vertex);
  return false;
}

void Engine::RequestPart(Vertex& vertex) {
  if (vertex.key_map != nullptr || vertex.all_parts()) return;
  vertex.key_map = NewTicket(&vertex, vertex.op->ShowsKeyMap());
  vertex.op->KeyMap(static_cast<int>(vertex.parts.size()), ActivityFor(*vertex.key_map),
                    Bind<KeyMapPart>(vertex.key_map, [this, &vertex](Result<KeyMapPart> part) {
                      OnPart(vertex, std::move(part));
                    }));
}

void Engine::OnPart(Vertex& vertex, Result<KeyMapPart> part) {
  Status valid = part.ok() ? CheckPart(vertex, *part) : Status(part.error());
  EndTicket(vertex.key_map, valid.ok() ? "" : valid.error().ToString(), !valid.ok());
  if (!valid.ok()) {
    FailWaiting(vertex, std::nullopt, valid.error().AddContext("failed to load cache key"));
    return;
  }
  if (IsRandom(part->digest) && vertex.is_root()) {
    for (int output = 0; output < vertex.op->output_count(); ++output) {
      local_.AddRoot(*KeyNode::Root(part->digest, output, false)->IdIn(kLocalSource));
    }
  }
  vertex.parts.push_back(std::move(*part));
  for (auto& [output, edge] : vertex.edges) MarkDirty(*edge);
}

void Engine::FailWaiting(Vertex& vertex, std::optional<size_t> digest_of, const Error& error) {
  std::vector<Edge*> failing;
  for (auto& [output, edge] : vertex.edges) {
    if (edge->goal() == Level::kNone) continue;
    switch (edge->phase) {
      case Phase::kDone:
      case Phase::kClaim:
      case Phase::kFlight:
      case Phase::kFollow:
      case Phase::kCommit:
        continue;
      default:
        break;
    }
    if (digest_of && !edge->inputs[*digest_of].digest_wanted) continue;
    failing.push_back(edge.get());
  }
  for (Edge* edge : failing) Fail(*edge, WithFailedVertex(error, vertex.digest), true);
}

const KeyNodePtr* Engine::ContentKey(const Edge& edge, size_t index) const {
  const InputDigest& digest = edge.vertex->digests[index];
  if (digest.key == nullptr) return nullptr;
  if (faults_.stale_digest) return &digest.key;
  const Edge& from = *edge.inputs[index].edge;
  if (from.phase != Phase::kDone || from.generation != digest.generation) return nullptr;
  return &digest.key;
}

// True once the content key of what the input holds now is known.
bool Engine::WantDigest(Edge& edge, size_t index) {
  EdgeInput& input = edge.inputs[index];
  input.digest_wanted = true;
  if (input.edge->phase != Phase::kDone) return false;
  if (ContentKey(edge, index) != nullptr) return true;
  StartDigest(*edge.vertex, index);
  return false;
}

void Engine::StartDigest(Vertex& vertex, size_t index) {
  InputDigest& digest = vertex.digests[index];
  const Edge& from = *vertex.inputs[index].vertex->edges.at(vertex.inputs[index].output);
  if (digest.ticket != nullptr) {
    if (digest.ticket_generation == from.generation) return;
    DropTicket(digest.ticket);
  }
  const ResultHandle handle(from.id(), from.generation, from.result);
  digest.ticket = NewTicket(&vertex, false);
  digest.ticket_generation = from.generation;
  const TicketPtr ticket = digest.ticket;
  auto compute = [this, &vertex, index, handle, raw = ticket.get()] {
    raw->running = true;
    const TicketPtr& mine = vertex.digests[index].ticket;
    vertex.op->ContentDigest(
        static_cast<int>(index), handle, ActivityFor(*mine),
        Bind<std::string>(mine, [this, &vertex, index, handle](Result<std::string> text) {
          OnDigest(vertex, index, handle, std::move(text));
        }));
  };
  const ScopeState* build = BuildOf(vertex);
  ticket->resources = resources_.Request({SlotKind::kHash, {}},
                                         build != nullptr ? build->serial : 0, std::move(compute));
}

void Engine::OnDigest(Vertex& vertex, size_t index, const ResultHandle& of,
                      Result<std::string> text) {
  InputDigest& digest = vertex.digests[index];
  const bool failed = !text.ok() && !IsLost(text.error());
  EndTicket(digest.ticket, failed ? text.error().ToString() : "", failed);
  if (text.ok()) {
    digest.key = KeyNode::Content(*text);
    digest.generation = of.generation();
    for (auto& [output, edge] : vertex.edges) MarkDirty(*edge);
    return;
  }
  if (!failed) {
    InputLost(vertex, index, of, text.error());
  } else {
    Error error = text.error();
    FailWaiting(vertex, index, error.AddContext("failed to compute cache key"));
  }
}

// Ends key maps and digests that no edge of the vertex waits for.
void Engine::ReleaseUnwanted(Vertex& vertex) {
  bool key_map = false;
  std::vector<bool> digests(vertex.digests.size());
  for (const auto& [output, edge] : vertex.edges) {
    if (edge->goal() == Level::kNone || edge->phase == Phase::kDone) continue;
    key_map = key_map || (edge->phase != Phase::kClaim && edge->phase != Phase::kFlight);
    for (size_t i = 0; i < digests.size(); ++i) {
      if (edge->inputs[i].digest_wanted) digests[i] = true;
    }
  }
  if (!key_map) DropTicket(vertex.key_map);
  for (size_t i = 0; i < digests.size(); ++i) {
    if (!digests[i]) DropTicket(vertex.digests[i].ticket);
  }
}

}  // namespace kiln::solver
