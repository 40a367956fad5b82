#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/mutex.h"
#include "progress/progress.h"

namespace kiln::client {

// A warning as BuildKit's clients write it (client.VertexWarning).
nlohmann::ordered_json WarningJson(const progress::VertexWarning& warning);

// Keeps a build's warnings, each once: the builds of several platforms say the same.
class WarningList final : public progress::Sink {
 public:
  void OnVertex(const progress::Vertex&) override {}
  void OnStatus(const progress::VertexStatus&) override {}
  void OnLog(const progress::VertexLog&) override {}
  void OnWarning(const progress::VertexWarning& warning) override;

  std::vector<progress::VertexWarning> All() const;
  // "N warnings found" and a line for each, as buildx ends with; "" if there are none.
  std::string Summary() const;

 private:
  mutable Mutex mutex_;
  std::vector<progress::VertexWarning> all_ GUARDED_BY(mutex_);
};

}  // namespace kiln::client
