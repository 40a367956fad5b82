#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "progress/progress.h"

namespace kiln::progress {

// The client sessions on whose behalf work is done: read at each use, since builds that share a
// step come and go. Safe from any thread.
class SessionGroup {
 public:
  virtual ~SessionGroup() = default;
  virtual std::vector<std::string> SessionIds() const = 0;
};

class FixedSessions final : public SessionGroup {
 public:
  explicit FixedSessions(std::vector<std::string> ids) : ids_(std::move(ids)) {}
  std::vector<std::string> SessionIds() const override { return ids_; }

 private:
  const std::vector<std::string> ids_;
};

// What everything that may block is given: how it learns that it is no longer wanted, until when it
// may take, where its progress goes and whose sessions it may ask. A value; copies share the parts.
// `sink` and `sessions` are never null.
struct Activity {
  CancelToken cancel;
  std::optional<SteadyTime> deadline;
  std::shared_ptr<Sink> sink = std::make_shared<NullSink>();
  std::shared_ptr<const SessionGroup> sessions =
      std::make_shared<FixedSessions>(std::vector<std::string>());

  // Cancelled or past the deadline? Then why, as an error.
  Status Check() const;
  Activity WithDeadline(SteadyTime at) const;
  Activity WithTimeout(nanoseconds timeout) const;
  Activity WithCancel(CancelToken token) const;
};

// Reports a sub-task of a vertex ("extracting sha256:…"): started now, completed by Done() or when
// destroyed. `vertex` may be empty inside an op's run. The activity's sink must live on, which it
// does because it is shared.
class StatusScope {
 public:
  StatusScope(const Activity& activity, const Clock& clock, const Digest& vertex, std::string id,
              std::string name = {});
  ~StatusScope();
  StatusScope(const StatusScope&) = delete;
  StatusScope& operator=(const StatusScope&) = delete;

  void Update(int64_t current, int64_t total);
  void Done();

 private:
  void Emit();

  std::shared_ptr<Sink> sink_;
  const Clock& clock_;
  VertexStatus status_;
};

// Reports work outside the solver's graph as a vertex of its own ("[internal] load build
// definition", "exporting to image"). Its digest is made from the name and a fresh id unless one is
// given. Completed by Finish(status), or as cancelled when destroyed without it.
class VertexScope {
 public:
  VertexScope(std::shared_ptr<Sink> sink, const Clock& clock, std::string name,
              Digest digest = Digest(), std::optional<Group> group = {});
  ~VertexScope();
  VertexScope(const VertexScope&) = delete;
  VertexScope& operator=(const VertexScope&) = delete;

  const Digest& digest() const { return vertex_.digest; }
  void Log(Stream stream, std::string data);
  // Returns `status` for convenience: `return scope.Finish(DoIt());`.
  Status Finish(Status status);

 private:
  void Complete(std::string error);

  std::shared_ptr<Sink> sink_;
  const Clock& clock_;
  Vertex vertex_;
};

}  // namespace kiln::progress
