#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "filesync/entry.h"
#include "filesync/packet_stream.h"
#include "progress/activity.h"

namespace kiln::filesync {

// Hashes one entry while its content is written. Used by one thread.
class EntryHasher {
 public:
  virtual ~EntryHasher() = default;
  virtual void Update(std::string_view content) = 0;
  virtual Digest Finish() = 0;
};

struct ReceiveOptions {
  // What the destination holds: the `entries` of the last transfer into it, in wire order. Empty
  // for an empty folder.
  std::vector<Entry> previous;
  // `listed_at_ns` of that transfer, if it had one. A file that has changed since is asked for
  // again, whatever its size and times say; so is one of which that cannot be told.
  int64_t previous_listed_at_ns = 0;
  // Ask for every file again, whatever `previous` says (local.differ=none).
  bool differ_none = false;
  // Merge into what is there: `previous` is empty, nothing is removed but what stands in an entry's
  // way.
  bool merge = false;
  // Metadata-only transfer: no content but of paths that match `content_patterns`; all stats go
  // into the file
  // ".fsutil-metadata" of the destination.
  bool metadata_only = false;
  std::vector<std::string> content_patterns;
  // Makes the hasher for a regular file about to be written; called on several threads at once.
  // Null: plain sha256 of the content. Entries of other kinds get no digest.
  std::function<std::unique_ptr<EntryHasher>(const Entry&)> make_hasher;
  // Total bytes of packets received so far; at most ten times a second, and once at the end.
  std::function<void(int64_t bytes)> on_progress;
  // Changes owners before anything is compared or written (user namespaces).
  std::function<Status(Entry&)> map_owner;
  size_t max_entries = 20'000'000;
};

struct ReceiveReport {
  // All of the tree now, in wire order, with digests: keep it for the next transfer.
  std::vector<Entry> entries;
  // Indexes into `entries` of what was created or replaced, or got new metadata.
  std::vector<uint32_t> changed;
  // Paths that are gone; of a removed directory only the directory itself. Apply before `changed`.
  std::vector<std::string> removed;
  // When the sender began to list, by its clock; 0: it did not say.
  int64_t listed_at_ns = 0;
  uint64_t files_requested = 0;
  int64_t bytes_received = 0;
};

// Makes directory `root` equal to what the sender on `stream` lists, and ends the stream. Reads on
// the calling thread; writes requests and files on threads of its own, gone before it returns. The
// other side is not trusted. After an error the folder's state is unknown.
Result<ReceiveReport> ReceiveTree(const progress::Activity& activity, PacketStream& stream,
                                  int root, ReceiveOptions options);

}  // namespace kiln::filesync
