#pragma once

#include <string>

#include "dockerfile/ast.h"
#include "oci/platform.h"

namespace kiln::dockerfile {

struct StageState;

// Watches a conversion without taking part in it: build checks, outlines. Calls come in order, on
// the thread that lowers.
class LowerObserver {
 public:
  virtual ~LowerObserver() = default;
  // An image was looked up that `lines` ask for as `name`. Before any stage is lowered.
  virtual void OnImage(const std::string& /*name*/, LineRange /*lines*/,
                       const oci::Platform& /*expected*/, const oci::Platform& /*found*/) {}
  // A stage begins; `base` is the stage it builds on, or -1.
  virtual void OnStage(const Stage& /*stage*/, int /*base*/) {}
  // An instruction (or ONBUILD trigger, whose `lines` are the FROM's) with the state of its stage
  // before it takes effect, and after.
  virtual void Before(const Instruction& /*instruction*/, LineRange /*lines*/,
                      const StageState& /*state*/) {}
  virtual void After(const Instruction& /*instruction*/, LineRange /*lines*/,
                     const StageState& /*state*/) {}
};

}  // namespace kiln::dockerfile
