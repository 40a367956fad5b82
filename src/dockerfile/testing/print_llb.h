#pragma once

#include <string>

#include "pb/ops.pb.h"

namespace kiln::dockerfile {

// A definition as text for people and golden files: vertices numbered in order, digests left out.
std::string PrintLlb(const pb::Definition& definition);

}  // namespace kiln::dockerfile
