#pragma once

// Inside frontend only.

#include <variant>

#include "llb/source_id.h"

namespace kiln::frontend {

// Of a registry or of a layout.
inline bool IsImage(const llb::SourceId& id) {
  return std::holds_alternative<llb::ImageSource>(id) ||
         std::holds_alternative<llb::OciLayoutSource>(id);
}

}  // namespace kiln::frontend
