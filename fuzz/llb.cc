// A serialized pb.Definition, as a client sends it: loading, keys, names, sources and locations
// must end in a value or an error, whatever the bytes.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "llb/cache_key.h"
#include "llb/caps.h"
#include "llb/definition.h"
#include "llb/marshal.h"
#include "llb/source_id.h"
#include "llb/source_map.h"
#include "quiet_protobuf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kiln::llb;
  pb::Definition definition;
  if (!definition.ParseFromArray(data, static_cast<int>(size))) return 0;
  auto graph = Load(definition, {.max_ops = 1000});
  if (!graph.ok()) return 0;
  CHECK(graph->root.vertex < graph->vertices.size());
  for (size_t i = 0; i < graph->vertices.size(); ++i) {
    const Vertex& vertex = graph->vertices[i];
    for (const Edge& input : vertex.inputs) CHECK(input.vertex < i);
    (void)CheckCaps(vertex.metadata);
    (void)RequiredCaps(vertex.op, vertex.metadata);
    (void)SourceDetails(definition.source(), vertex.original.ToString());
    if (vertex.kind() == OpKind::kSource) {
      const auto& attrs = vertex.op.source().attrs();
      auto source = ParseSource(vertex.op.source().identifier(), {attrs.begin(), attrs.end()});
      if (source.ok()) (void)CanonicalIdentifier(*source);
      continue;
    }
    auto key = KeyMapOf(vertex);
    if (key.ok()) CHECK(key->inputs.size() == static_cast<size_t>(vertex.op.inputs_size()));
  }
  return 0;
}
