#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "progress/progress.h"

namespace kiln::client {

// Numbers the steps of a build: those that started in the order of their first start, so that
// whoever has seen all of a build's progress, while it ran or later, gives the same numbers.
class StepNumbers final : public progress::Sink {
 public:
  struct Step {
    int number = 0;
    Digest digest;
    std::string name;
    std::string error;
    std::optional<WallTime> started;
  };

  void OnVertex(const progress::Vertex& vertex) override;
  void OnStatus(const progress::VertexStatus&) override {}
  void OnLog(const progress::VertexLog&) override {}
  void OnWarning(const progress::VertexWarning&) override {}

  // Numbered from 1.
  std::vector<Step> Steps() const;

 private:
  mutable Mutex mutex_;
  std::map<Digest, Step> steps_ GUARDED_BY(mutex_);
};

// Passes everything on to two.
class TeeSink final : public progress::Sink {
 public:
  TeeSink(std::shared_ptr<progress::Sink> first, std::shared_ptr<progress::Sink> second)
      : first_(std::move(first)), second_(std::move(second)) {}
  void OnVertex(const progress::Vertex& vertex) override {
    first_->OnVertex(vertex);
    second_->OnVertex(vertex);
  }
  void OnStatus(const progress::VertexStatus& status) override {
    first_->OnStatus(status);
    second_->OnStatus(status);
  }
  void OnLog(const progress::VertexLog& log) override {
    first_->OnLog(log);
    second_->OnLog(log);
  }
  void OnWarning(const progress::VertexWarning& warning) override {
    first_->OnWarning(warning);
    second_->OnWarning(warning);
  }

 private:
  const std::shared_ptr<progress::Sink> first_;
  const std::shared_ptr<progress::Sink> second_;
};

}  // namespace kiln::client
