#include "progress/activity.h"

#include "base/ids.h"

namespace kiln::progress {

Status Activity::Check() const {
  TRY(cancel.Check());
  if (deadline && std::chrono::steady_clock::now() >= *deadline) {
    return DeadlineExceeded("deadline exceeded");
  }
  return OkStatus();
}

Activity Activity::WithDeadline(SteadyTime at) const {
  Activity copy = *this;
  if (!copy.deadline || at < *copy.deadline) copy.deadline = at;
  return copy;
}

Activity Activity::WithTimeout(nanoseconds timeout) const {
  return WithDeadline(std::chrono::steady_clock::now() + timeout);
}

Activity Activity::WithCancel(CancelToken token) const {
  Activity copy = *this;
  copy.cancel = std::move(token);
  return copy;
}

StatusScope::StatusScope(const Activity& activity, const Clock& clock, const Digest& vertex,
                         std::string id, std::string name)
    : sink_(activity.sink), clock_(clock) {
  status_.vertex = vertex;
  status_.id = std::move(id);
  status_.name = std::move(name);
  status_.started = clock_.Now();
  Emit();
}

StatusScope::~StatusScope() { Done(); }

void StatusScope::Update(int64_t current, int64_t total) {
  status_.current = current;
  status_.total = total;
  Emit();
}

void StatusScope::Done() {
  if (status_.completed) return;
  status_.completed = clock_.Now();
  Emit();
}

void StatusScope::Emit() {
  status_.timestamp = clock_.Now();
  sink_->OnStatus(status_);
}

VertexScope::VertexScope(std::shared_ptr<Sink> sink, const Clock& clock, std::string name,
                         Digest digest, std::optional<Group> group)
    : sink_(std::move(sink)), clock_(clock) {
  vertex_.digest = digest.empty() ? Sha256Of(name + "\n" + NewId()) : digest;
  vertex_.name = std::move(name);
  vertex_.group = std::move(group);
  vertex_.started = clock_.Now();
  sink_->OnVertex(vertex_);
}

VertexScope::~VertexScope() {
  if (!vertex_.completed) Complete("context canceled");
}

void VertexScope::Log(Stream stream, std::string data) {
  sink_->OnLog({vertex_.digest, clock_.Now(), stream, std::move(data)});
}

Status VertexScope::Finish(Status status) {
  Complete(status.ok() ? std::string() : status.error().ToString());
  return status;
}

void VertexScope::Complete(std::string error) {
  vertex_.completed = clock_.Now();
  vertex_.error = std::move(error);
  sink_->OnVertex(vertex_);
}

}  // namespace kiln::progress
