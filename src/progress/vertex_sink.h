#pragma once

#include "base/digest.h"
#include "progress/activity.h"

namespace kiln::progress {

// The same activity, whose logs and warnings are of `vertex` unless they name one: for work that is
// shown as a vertex and calls what does not know it. Its parts that are not named stay unseen.
Activity OnBehalfOf(const Activity& activity, const Digest& vertex);

}  // namespace kiln::progress
