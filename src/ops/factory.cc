#include "ops/factory.h"

#include <utility>

#include "ops/file_op.h"
#include "ops/merge_op.h"
#include "ops/passthrough_op.h"

namespace kiln::ops {

Factory::Factory(const Services& services) : services_(services) {
  Register(llb::OpKind::kFile, [services](const llb::Vertex& vertex, const OpOptions& options) {
    return MakeFileOp(services, vertex, options);
  });
  Register(llb::OpKind::kMerge, [services](const llb::Vertex& vertex, const OpOptions& options) {
    return MakeMergeOp(services, vertex, options);
  });
  Register(llb::OpKind::kDiff, [services](const llb::Vertex& vertex, const OpOptions& options) {
    return MakeDiffOp(services, vertex, options);
  });
  Register(llb::OpKind::kPassthrough,
           [services](const llb::Vertex& vertex, const OpOptions& options) {
             return MakePassthroughOp(services, vertex, options);
           });
}

void Factory::Register(llb::OpKind kind, OpMaker maker) { makers_[kind] = std::move(maker); }

Result<solver::OpPtr> Factory::Make(const llb::Graph& graph, uint32_t index,
                                    const OpOptions& options) const {
  const llb::Vertex& vertex = graph.vertices[index];
  auto found = makers_.find(vertex.kind());
  if (found == makers_.end())
    return Unknown("{} operations are not supported by this build server",
                   llb::KindName(vertex.kind()));
  return found->second(vertex, options);
}

}  // namespace kiln::ops
