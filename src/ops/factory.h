#pragma once

#include <functional>
#include <map>

#include "llb/definition.h"
#include "ops/services.h"
#include "ops/snapshot_op.h"
#include "solver/op.h"

namespace kiln::ops {

// Makes the op of one vertex. Called on worker threads while a definition is loaded; must not
// block.
using OpMaker =
    std::function<Result<solver::OpPtr>(const llb::Vertex& vertex, const OpOptions& options)>;

// LLB vertex → solver::Op. File, merge and diff are built in; exec, source and build ops are
// registered by whoever wires their services. A kind that nobody registered is refused by name when
// a definition is loaded. Immutable once builds run.
class Factory {
 public:
  explicit Factory(const Services& services);

  void Register(llb::OpKind kind, OpMaker maker);
  Result<solver::OpPtr> Make(const llb::Graph& graph, uint32_t vertex,
                             const OpOptions& options = {}) const;
  const Services& services() const { return services_; }

 private:
  Services services_;
  std::map<llb::OpKind, OpMaker> makers_;
};

}  // namespace kiln::ops
