#include "registry/authorizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/ids.h"
#include "registry/auth_handler.h"
#include "registry/errors.h"

namespace kiln::registry {
namespace {

constexpr size_t kSaltBytes = 32;
constexpr std::chrono::minutes kMaxIdle{10};
// How many other sessions' handlers a new session may try to prove itself for.
constexpr size_t kMaxCandidates = 2;

const Challenge* FindBearer(const std::vector<Challenge>& challenges) {
  for (const Challenge& challenge : challenges) {
    if (challenge.scheme == "bearer") return &challenge;
  }
  return nullptr;
}

bool IsTransient(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kDeadlineExceeded;
}

}  // namespace

Authorizer::Authorizer(http::Client& client, const Clock& clock, CredentialProvider* credentials,
                       const http::RetryPolicy& retry)
    : client_(client),
      clock_(clock),
      credentials_(credentials),
      retry_(retry),
      salt_(RandomBytes(kSaltBytes)) {}

Authorizer::~Authorizer() = default;

void Authorizer::DropIdle() {
  const int64_t oldest = (clock_.Steady() - kMaxIdle).time_since_epoch().count();
  std::erase_if(handlers_, [&](const auto& item) { return item.second->last_used_ns < oldest; });
}

std::shared_ptr<AuthHandler> Authorizer::Find(const AuthAttempt& attempt) {
  const MutexLock lock(mutex_);
  DropIdle();
  const auto it =
      handlers_.find({attempt.host, attempt.purpose, attempt.sessions[attempt.current]});
  if (it == handlers_.end()) return nullptr;
  it->second->last_used_ns = clock_.Steady().time_since_epoch().count();
  return it->second;
}

std::shared_ptr<AuthHandler> Authorizer::FindShared(const progress::Activity& activity,
                                                    const AuthAttempt& attempt) {
  // What was obtained for pushing is never shared.
  if (attempt.purpose != Purpose::kPull) return nullptr;
  const std::string& session = attempt.sessions[attempt.current];
  std::vector<std::shared_ptr<AuthHandler>> candidates;
  {
    const MutexLock lock(mutex_);
    for (const auto& [key, handler] : handlers_) {
      const bool same_place =
          std::get<0>(key) == attempt.host && std::get<1>(key) == attempt.purpose;
      const bool known =
          std::find(candidates.begin(), candidates.end(), handler) != candidates.end();
      if (same_place && !known) candidates.push_back(handler);
    }
  }
  std::sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return a->last_used_ns.load() > b->last_used_ns.load();
  });
  if (candidates.size() > kMaxCandidates) candidates.resize(kMaxCandidates);
  const AuthContext context{client_, clock_, credentials_, salt_, retry_};
  for (const auto& handler : candidates) {
    if (!handler->Verify(context, activity, attempt.host, session)) continue;
    const MutexLock lock(mutex_);
    handlers_[{attempt.host, attempt.purpose, session}] = handler;
    return handler;
  }
  return nullptr;
}

std::shared_ptr<AuthHandler> Authorizer::Make(const AuthAttempt& attempt,
                                              const Challenge& challenge) {
  const std::string& session = attempt.sessions[attempt.current];
  const MutexLock lock(mutex_);
  auto& handler = handlers_[{attempt.host, attempt.purpose, session}];
  if (!handler || !handler->Fits(challenge)) {
    handler = std::make_shared<AuthHandler>(session, challenge);
  }
  handler->last_used_ns = clock_.Steady().time_since_epoch().count();
  return handler;
}

Status Authorizer::NextSession(AuthAttempt& attempt, Error why) {
  if (!attempt.last_error) attempt.last_error = std::move(why);
  attempt.refused = false;
  attempt.challenged = false;
  attempt.sent_by = nullptr;
  attempt.sent_token.clear();
  if (++attempt.current < attempt.sessions.size()) return OkStatus();
  return *attempt.last_error;
}

Result<SecretString> Authorizer::Header(const progress::Activity& activity, AuthAttempt& attempt) {
  const AuthContext context{client_, clock_, credentials_, salt_, retry_};
  while (attempt.current < attempt.sessions.size()) {
    std::shared_ptr<AuthHandler> handler = Find(attempt);
    if (!handler) handler = FindShared(activity, attempt);
    if (!handler) {
      attempt.sent_by = nullptr;
      return SecretString();
    }
    Result<SecretString> header = handler->Header(context, activity, attempt);
    if (header.ok()) {
      attempt.sent_by = std::move(handler);
      attempt.sent_token = header->Reveal();
      return header;
    }
    TRY(activity.Check());
    // Another repository wanted what this session has not; this one perhaps asks for nothing.
    if (!attempt.challenged) {
      attempt.sent_by = nullptr;
      return SecretString();
    }
    Error error = std::move(header).error();
    if (handler->bearer()) {
      error.AddContext("failed to authorize");
      if (!IsTransient(error)) error.set_code(Code::kFailedPrecondition);
    }
    TRY(NextSession(attempt, std::move(error)));
  }
  return attempt.last_error.value_or(Unauthenticated("authorization failed"));
}

// A token or password was sent, and refused.
Status Authorizer::OnRefused(AuthAttempt& attempt, const Challenge* bearer) {
  const std::string reason = bearer != nullptr ? CleanText(bearer->Get("error")) : std::string();
  attempt.challenged = true;
  attempt.sent_by->Drop(attempt.sent_token);
  const bool may_be_stale = attempt.sent_by->bearer() && reason != "insufficient_scope";
  if (may_be_stale && !std::exchange(attempt.refused, true)) return OkStatus();
  Error error = reason.empty()
                    ? Unauthenticated("authorization failed")
                    : Unauthenticated("server message: {}: authorization failed", reason);
  return NextSession(attempt, std::move(error));
}

Status Authorizer::OnUnauthorized(const progress::Activity& /*activity*/, AuthAttempt& attempt,
                                  const http::Response& response) {
  const std::vector<Challenge> challenges = ParseChallenges(response.headers);
  if (challenges.empty()) {
    return Unauthenticated("authorization failed: no supported challenge in the answer");
  }
  const Challenge* bearer = FindBearer(challenges);
  const ScopeSet before = attempt.scopes;
  if (bearer != nullptr) attempt.scopes.AddText(bearer->Get("scope"));
  const bool asks_more = before.ToString() != attempt.scopes.ToString();
  const Challenge& best = challenges.front();
  const bool sent = attempt.sent_by != nullptr;
  if (sent && attempt.sent_by->Fits(best) && !asks_more) return OnRefused(attempt, bearer);
  if (best.scheme == "bearer" && best.Get("realm").empty()) {
    return Unauthenticated("authorization failed: no realm in the challenge");
  }
  if (attempt.current >= attempt.sessions.size()) {
    return attempt.last_error.value_or(Unauthenticated("authorization failed"));
  }
  attempt.challenged = true;
  Make(attempt, best);
  return OkStatus();
}

}  // namespace kiln::registry
