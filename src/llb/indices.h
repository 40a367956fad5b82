#pragma once

#include <cstdint>

namespace kiln::llb {

// The index of an input or output that a part of an op does not have.
inline constexpr int64_t kEmpty = -1;

}  // namespace kiln::llb
