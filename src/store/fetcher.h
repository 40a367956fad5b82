#pragma once

#include <map>
#include <string>

#include "store/blob_store.h"
#include "store/keyed_gate.h"
#include "store/layer_rows.h"
#include "store/root.h"

namespace kiln::store {

// Brings blobs of layers here, from wherever they are known to lie. Safe from any thread.
class Fetcher {
 public:
  Fetcher(Root* root, BlobStore* blobs, LayerRows* rows)
      : root_(root), blobs_(blobs), rows_(rows) {}

  // Before the first Fetch.
  void AddSource(std::string kind, BlobSource* source) { sources_[std::move(kind)] = source; }
  // Several callers of one blob share the work. Lost (of that record) if no place has it; `also`:
  // places to try behind those that are noted.
  Result<BlobRef> Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
                        const std::string& record_id, std::span<const Locator> also = {});

 private:
  Root* const root_;
  BlobStore* const blobs_;
  LayerRows* const rows_;
  std::map<std::string, BlobSource*, std::less<>> sources_;
  KeyedGate gate_;
};

}  // namespace kiln::store
