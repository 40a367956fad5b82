#include "client/step_numbers.h"

#include <algorithm>

namespace kiln::client {

void StepNumbers::OnVertex(const progress::Vertex& vertex) {
  if (!vertex.started) return;
  MutexLock lock(mutex_);
  Step& step = steps_[vertex.digest];
  step.digest = vertex.digest;
  step.name = vertex.name;
  step.started = step.started ? std::min(*step.started, *vertex.started) : vertex.started;
  if (vertex.completed) step.error = vertex.error;
}

std::vector<StepNumbers::Step> StepNumbers::Steps() const {
  MutexLock lock(mutex_);
  std::vector<Step> steps;
  for (const auto& [digest, step] : steps_) steps.push_back(step);
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return *a.started < *b.started; });
  int number = 0;
  for (Step& step : steps) step.number = ++number;
  return steps;
}

}  // namespace kiln::client
