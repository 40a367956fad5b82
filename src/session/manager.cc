#include "session/manager.h"

#include <grpc/health/v1/health.grpc.pb.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "rpc/status.h"
#include "session/connection.h"

namespace kiln::session {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

std::string_view BareId(std::string_view id) {
  const size_t colon = id.find(':');
  return colon == std::string_view::npos ? id : id.substr(colon + 1);
}

}  // namespace

Session::Session(SessionInfo info, std::shared_ptr<Connection> connection)
    : info_(std::move(info)), connection_(std::move(connection)) {
  for (std::string& method : info_.methods) method = ToLower(method);
  std::sort(info_.methods.begin(), info_.methods.end());
}

Session::~Session() = default;

bool Session::Supports(std::string_view method) const {
  return std::binary_search(info_.methods.begin(), info_.methods.end(), ToLower(method));
}

// The checks of one session. Holds the session weakly: it must not keep it alive.
struct Manager::Health {
  std::weak_ptr<Session> session;
  HealthPolicy policy;
  std::function<void()> on_fatal;
  TaskQueue* timers = nullptr;
  int failures = 0;
  std::chrono::milliseconds last{0};

  // One check under way.
  struct Probe {
    grpc::ClientContext context;
    HealthCheckRequest request;
    HealthCheckResponse response;
    std::unique_ptr<grpc::health::v1::Health::Stub> stub;
    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
    SessionPtr session;
  };
  static void Schedule(const std::shared_ptr<Health>& self);
  static void Begin(const std::shared_ptr<Health>& self);
  void OnAnswer(const Probe& probe, const grpc::Status& status);
};

void Manager::Health::Schedule(const std::shared_ptr<Health>& self) {
  self->timers->PostAfter(self->policy.interval, [self] { Begin(self); });
}

void Manager::Health::Begin(const std::shared_ptr<Health>& self) {
  SessionPtr session = self->session.lock();
  if (!session || session->closed().cancelled()) return;
  auto probe = std::make_shared<Probe>();
  const auto limit = std::max(self->policy.timeout, self->last * 3 / 2);
  probe->context.set_deadline(std::chrono::system_clock::now() + limit);
  probe->stub = grpc::health::v1::Health::NewStub(session->connection().channel);
  probe->session = std::move(session);
  probe->stub->async()->Check(&probe->context, &probe->request, &probe->response,
                              [self, probe](const grpc::Status& status) {
                                // Never on gRPC's thread: ending a session may drop the channel
                                // that called us.
                                self->timers->Post([self, probe, status] {
                                  self->OnAnswer(*probe, status);
                                  if (self->failures < self->policy.failures) Schedule(self);
                                });
                              });
}

void Manager::Health::OnAnswer(const Probe& probe, const grpc::Status& status) {
  last = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               probe.started);
  if (status.ok()) {
    failures = 0;
    return;
  }
  if (probe.session->closed().cancelled()) {
    failures = policy.failures;  // nothing left to check
    return;
  }
  if (++failures < policy.failures) return;
  LOG_WARNING("session {} health check failed fatally: {}", probe.session->id(),
              rpc::FromGrpc(status));
  on_fatal();
}

Manager::Manager(TaskQueue& timers) : timers_(timers) {}

Manager::~Manager() {
  while (true) {
    SessionPtr session;
    {
      MutexLock lock(mutex_);
      if (sessions_.empty()) return;
      session = sessions_.begin()->second;
    }
    Remove(session);
  }
}

Result<SessionPtr> Manager::Add(SessionInfo info, std::shared_ptr<Session::Connection> connection,
                                const HealthPolicy& policy, std::function<void()> on_fatal) {
  if (info.id.empty()) return InvalidArgument("session without an id");
  auto session = std::make_shared<Session>(std::move(info), std::move(connection));
  {
    MutexLock lock(mutex_);
    if (!sessions_.emplace(session->id(), session).second) {
      return AlreadyExists("session {} exists already", session->id());
    }
    changed_.NotifyAll();
  }
  if (session->Supports("/grpc.health.v1.Health/Check")) {
    auto health = std::make_shared<Health>();
    health->session = session;
    health->policy = policy;
    health->on_fatal = std::move(on_fatal);
    health->timers = &timers_;
    Health::Schedule(health);
  }
  return session;
}

void Manager::Remove(const SessionPtr& session) {
  {
    MutexLock lock(mutex_);
    const auto it = sessions_.find(session->id());
    if (it != sessions_.end() && it->second == session) sessions_.erase(it);
  }
  session->closed_.Cancel(Unavailable("session {} is gone", session->id()));
}

Result<SessionPtr> Manager::Get(const progress::Activity& activity, std::string_view id,
                                std::chrono::milliseconds timeout) {
  const std::string_view bare = BareId(id);
  const auto wake = activity.cancel.OnCancel([this] {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  auto until = std::chrono::steady_clock::now() + timeout;
  if (activity.deadline) until = std::min(until, *activity.deadline);
  {
    MutexLock lock(mutex_);
    bool waiting = true;
    while (true) {
      const auto it = sessions_.find(bare);
      if (it != sessions_.end()) return it->second;
      if (!waiting || activity.cancel.cancelled()) break;
      waiting = changed_.WaitUntil(lock, until);
    }
  }
  TRY(activity.cancel.Check());
  return NotFound("no active session for {}: context deadline exceeded", bare);
}

SessionPtr Manager::Find(std::string_view id) const {
  MutexLock lock(mutex_);
  const auto it = sessions_.find(BareId(id));
  return it == sessions_.end() ? nullptr : it->second;
}

void Manager::ShareTrees(const std::string& id, filesync::TreeSource* trees) {
  MutexLock lock(mutex_);
  if (trees == nullptr) {
    trees_.erase(id);
  } else {
    trees_[id] = trees;
  }
}

filesync::TreeSource* Manager::SharedTrees(std::string_view id) const {
  MutexLock lock(mutex_);
  const auto it = trees_.find(BareId(id));
  return it == trees_.end() ? nullptr : it->second;
}

size_t Manager::count() const {
  MutexLock lock(mutex_);
  return sessions_.size();
}

}  // namespace kiln::session
