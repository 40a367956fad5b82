#pragma once

#include <functional>
#include <optional>
#include <string>

#include "archive/tar.h"
#include "base/cancel.h"
#include "sys/privileges.h"
#include "sys/rooted_path.h"

namespace kiln::archive {

// An entry that was applied, for whoever keeps an index of the layer.
struct AppliedEntry {
  TarEntry entry;
  Digest content;  // sha256 of a regular file's bytes; empty for other types
};

// The layers below a layer, for its hard links to files that only they have.
class FilesBelow {
 public:
  virtual ~FilesBelow() = default;

  struct Found {
    std::string path;       // clean, relative, no links on the way to it
    bool in_layer = false;  // the layer that is being applied has it, else those below
  };
  // The file (no directory) that `path` leads to in the union of all of them as it is now; links on
  // the way are followed, a link at its end is what is found. NotFound if nothing is there.
  virtual Result<Found> Find(const std::string& path) = 0;

  struct Place {
    int dir = -1;
    std::string name;
  };
  // A copy, with its attributes, of what was found below at `path`: the same one each time, outside
  // of the layer, where link(2) can reach it. Lives as long as this.
  virtual Result<Place> Copy(const std::string& path) = 0;
};

struct ApplyOptions {
  // Whiteouts become overlayfs' form (character device 0:0, and the opaque attribute of
  // `privileges`), for a layer that will be an overlay's lower directory. Otherwise they delete.
  bool overlay_whiteouts = true;
  // Owners and device nodes are left out if we may not make them.
  sys::Privileges privileges;
  // Refuse with ResourceExhausted beyond these (a bomb).
  int64_t max_bytes = int64_t{1} << 42;
  TarLimits limits;
  // Attributes for a directory that the layer needs but does not list: from the layers below, else
  // 0755 root. Called with clean relative paths; nullopt if the layers below have no such
  // directory.
  std::function<std::optional<TarEntry>(const std::string& path)> parent_attributes;
  // Null: a hard link to a file that the layer does not have is an error. Else the layer gets that
  // file, under its own name too unless it hides it: changes of one name are those of the other.
  FilesBelow* files_below = nullptr;
  // Told of every entry (whiteouts too, by their marker names) in archive order; an error stops the
  // apply.
  std::function<Status(const AppliedEntry&)> on_entry;
};

struct ApplyResult {
  int64_t entries = 0;
  int64_t bytes = 0;  // of regular files
};

// Unpacks a layer tar (uncompressed bytes) below `root`, as OCI image-spec v1.1 layer.md says.
// Nothing outside `root` is read or written, whatever the names, links and whiteouts say; an entry
// that tries is an InvalidArgument that names it. Directory times are set at the end. On an error
// `root` is left half-filled: the caller discards it. Reads the source to its end, so that a hash
// over it is complete.
Result<ApplyResult> ApplyLayer(ByteSource& tar, const sys::RootedPath& root,
                               const ApplyOptions& options, const CancelToken& cancel);

}  // namespace kiln::archive
