#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "ops/owner.h"
#include "progress/activity.h"
#include "store/layer_writer.h"

namespace kiln::ops {

struct UnpackRequest {
  const progress::Activity& activity;
  Fd file;                                // a regular file
  std::string name;                       // for errors
  std::string dest;                       // made 0755 if missing
  const std::optional<FileOwner>& owner;  // of everything; unset: as the archive says
  std::optional<WallTime> mtime;          // of what is made on the way to `dest`
};

// ADD's unpacking: if the file is a tar, plain or compressed with anything we can read, extracts it
// into `dest` and returns true; false leaves everything as it was. Names are resolved inside the
// writer's union, links included.
Result<bool> UnpackArchive(UnpackRequest request, store::LayerWriter& writer);

}  // namespace kiln::ops
