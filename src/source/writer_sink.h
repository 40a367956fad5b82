#pragma once

// Inside source only.

#include "registry/registry.h"
#include "store/blob.h"

namespace kiln::source {

// A blob writer of the store as the place where a download goes; the store compares the digest on
// commit.
class WriterSink final : public registry::BlobSink {
 public:
  explicit WriterSink(store::BlobWriter& writer) : writer_(writer) {}
  Status Write(std::string_view data) override { return writer_.Write(data); }
  uint64_t offset() const override { return writer_.offset(); }
  Status Restart() override { return writer_.Restart(); }
  bool verifies_digest() const override { return true; }

 private:
  store::BlobWriter& writer_;
};

}  // namespace kiln::source
