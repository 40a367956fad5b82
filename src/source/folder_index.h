#pragma once

// Inside source only: between what a transfer reports and what the store's index of a directory
// holds.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "filesync/receiver.h"
#include "store/layer_tree.h"

namespace kiln::source {

// What a received directory holds, as the receiver wants to know it.
struct Listing {
  struct Directory {
    int64_t mtime_ns = 0;
    Digest digest;
  };
  std::vector<filesync::Entry> entries;  // in wire order
  std::unordered_map<std::string, Directory> directories;
};
Result<Listing> ListingOf(const store::LayerTree& index);

// The entry hash of BuildKit's contenthash, made while a file arrives.
std::unique_ptr<filesync::EntryHasher> MakeEntryHasher(const filesync::Entry& entry);

// Brings the index to what the transfer made of the directory.
Status UpdateIndex(store::LayerTree& index, const filesync::ReceiveReport& report,
                   const Listing& before);

}  // namespace kiln::source
