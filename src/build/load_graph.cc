#include "build/load_graph.h"

#include <utility>

#include "llb/source_id.h"

namespace kiln::build {
namespace {

// Whoever shows an error follows these.
Status CheckLocations(const pb::Source& source) {
  for (const auto& [digest, locations] : source.locations()) {
    for (const pb::Location& location : locations.locations()) {
      if (location.sourceindex() >= 0 && location.sourceindex() < source.infos_size()) continue;
      return Unknown("invalid source index {} for vertex {}", location.sourceindex(), digest);
    }
  }
  return OkStatus();
}

}  // namespace

pb::SourceOp Canonical(pb::SourceOp source) {
  auto id = llb::ParseSource(source.identifier(), {source.attrs().begin(), source.attrs().end()});
  if (id.ok()) source.set_identifier(llb::CanonicalIdentifier(*id));
  return source;
}

Result<llb::Graph> LoadGraph(const pb::Definition& definition, const SourceRewriter& rewrite) {
  TRY(CheckLocations(definition.source()));
  if (!rewrite) return llb::Load(definition);
  TRY_ASSIGN(llb::RawGraph raw, llb::Parse(definition));
  for (llb::RawOp& op : raw.ops) {
    if (!op.op.has_source()) continue;
    pb::SourceOp source = Canonical(op.op.source());
    TRY_ASSIGN_CTX(bool rewritten, rewrite(source), "error evaluating the source policy");
    if (!rewritten && source.identifier() == op.op.source().identifier()) continue;
    *op.op.mutable_source() = std::move(source);
    op.changed = true;
  }
  return llb::Link(std::move(raw), definition);
}

}  // namespace kiln::build
