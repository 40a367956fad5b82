#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/loop.h"
#include "base/mutex.h"
#include "base/result.h"
#include "progress/activity.h"
#include "session/session.h"

namespace kiln::session {

// How long callers wait for a session that a client is about to open.
inline constexpr std::chrono::seconds kLookupTimeout{5};

// How often a session is asked whether it is alive, and how often it may fail to answer.
struct HealthPolicy {
  std::chrono::milliseconds interval{5000};
  std::chrono::milliseconds timeout{
      15000};  // at least; 1.5 times the last answer's time if that is more
  int failures = 2;
};

// All sessions of the daemon by id. Safe from any thread.
class Manager {
 public:
  // `timers` runs the health checks' timers and outlives the manager.
  explicit Manager(TaskQueue& timers);
  // Closes all sessions.
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // Registers a session and begins its health checks. AlreadyExists if one of that id is alive.
  // `on_fatal` is called when health checks gave up: the caller then ends the tunnel.
  Result<SessionPtr> Add(SessionInfo info, std::shared_ptr<Session::Connection> connection,
                         const HealthPolicy& health, std::function<void()> on_fatal);
  // Ends this very session: calls through it fail, its id is free.
  void Remove(const SessionPtr& session);

  // Waits for it for at most `timeout`. "prefix:ID" means ID. Blocks.
  Result<SessionPtr> Get(const progress::Activity& activity, std::string_view id,
                         std::chrono::milliseconds timeout = kLookupTimeout);
  // Without waiting; null if there is none.
  SessionPtr Find(std::string_view id) const;

  // Folders of a client in this process: OpenTree reads them directly instead of over the tunnel of
  // session `id`. Null takes them away. They outlive their entry here.
  void ShareTrees(const std::string& id, filesync::TreeSource* trees);
  filesync::TreeSource* SharedTrees(std::string_view id) const;

  size_t count() const;

 private:
  struct Health;

  TaskQueue& timers_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::map<std::string, SessionPtr, std::less<>> sessions_ GUARDED_BY(mutex_);
  std::map<std::string, filesync::TreeSource*, std::less<>> trees_ GUARDED_BY(mutex_);
};

// Calls `call(Session&)`, which returns a Result or Status, for each session of the activity until
// one succeeds. At the end: the last error, or "no active sessions".
template <typename Call>
std::invoke_result_t<Call, Session&> Any(Manager& manager, const progress::Activity& activity,
                                         const Call& call) {
  Error last = Error(Code::kNotFound, "no active sessions");
  for (const std::string& id : activity.sessions->SessionIds()) {
    TRY(activity.Check());
    Result<SessionPtr> session = manager.Get(activity, id);
    if (!session.ok()) {
      last = std::move(session).error();
      continue;
    }
    auto result = call(**session);
    if (result.ok()) return result;
    last = std::move(result).error();
  }
  return last;
}

}  // namespace kiln::session
