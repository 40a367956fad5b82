#pragma once

// Inside source only.

#include <string>

#include "base/digest.h"
#include "store/ref.h"

namespace kiln::source {

// A file that was downloaded, as a snapshot of the store with nothing else in it.
struct HttpFile {
  store::SnapshotRef ref;
  Digest checksum;
  std::string filename;       // in the snapshot
  std::string last_modified;  // as the server wrote it; "" if it said nothing
};

}  // namespace kiln::source
