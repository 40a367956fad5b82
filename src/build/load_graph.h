#pragma once

#include <functional>

#include "llb/definition.h"

namespace kiln::build {

// Looks at a source before anything is made of it and may rewrite it; true if it did. An error
// refuses the definition.
using SourceRewriter = std::function<Result<bool>(pb::SourceOp& source)>;

// llb::Load with every source of the definition shown to `rewrite` first, its identifier in
// canonical form (source policies are written against that). Null: as received. Everything on top
// of a changed source gets a new digest.
Result<llb::Graph> LoadGraph(const pb::Definition& definition, const SourceRewriter& rewrite);

// `source` with the identifier policies see; unchanged if it cannot be parsed (loading its op says
// why).
pb::SourceOp Canonical(pb::SourceOp source);

}  // namespace kiln::build
