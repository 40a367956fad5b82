#pragma once

#include <string>

#include "registry/registry.h"

namespace kiln::registry {

// Keeps a fetched blob in memory.
class MemorySink final : public BlobSink {
 public:
  Status Write(std::string_view data) override {
    content += data;
    return OkStatus();
  }
  uint64_t offset() const override { return content.size(); }
  Status Restart() override {
    content.clear();
    ++restarts;
    return OkStatus();
  }
  bool verifies_digest() const override { return false; }

  std::string content;
  int restarts = 0;
};

}  // namespace kiln::registry
