#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "http/message.h"
#include "progress/activity.h"
#include "store/store.h"

namespace kiln::exporter {

// A layer's bytes to be uploaded. A lazy layer is fetched only when the first byte is asked for, so
// a registry that has the blob already costs nothing.
class BlobBody final : public http::BodySource {
 public:
  // `store`, `layer` and `activity` must outlive it.
  BlobBody(const progress::Activity& activity, store::Store& store, const store::LayerBlob& layer)
      : activity_(activity), store_(store), layer_(layer) {}

  Result<size_t> Read(char* buffer, size_t size) override;
  Status Rewind() override;
  std::optional<int64_t> size() const override { return layer_.descriptor.size; }

 private:
  const progress::Activity& activity_;
  store::Store& store_;
  const store::LayerBlob& layer_;
  std::optional<store::BlobRef> blob_;
  Fd fd_;
};

}  // namespace kiln::exporter
