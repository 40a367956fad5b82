#include "registry/exchange.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "http/url.h"
#include "registry/errors.h"
#include "registry/registry.h"

namespace kiln::registry {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxAuthAttempts = 8;
// What is kept of an error's text, and what is read of it before its sender is hung up on.
constexpr size_t kMaxErrorBody = 64 << 10;
constexpr size_t kMaxErrorRead = 1 << 20;
constexpr milliseconds kProbeTimeout{10'000};

// Keeps the body of an error answer away from the caller's sink.
class GatedSink final : public http::ResponseSink {
 public:
  GatedSink(http::ResponseSink* inner, size_t limit) : inner_(inner), limit_(limit) {}

  Status OnHeaders(const http::Response& response) override {
    body_.clear();
    good_ = response.ok();
    head_ = response;
    return good_ && inner_ != nullptr ? inner_->OnHeaders(response) : OkStatus();
  }

  Status OnData(std::string_view data) override {
    if (!good_) {
      body_ += data.substr(0, kMaxErrorBody - std::min(kMaxErrorBody, body_.size()));
      read_ += data.size();
      cut_off_ = read_ > kMaxErrorRead;
      return cut_off_ ? Status(ResourceExhausted("error without end")) : OkStatus();
    }
    if (inner_ != nullptr) return inner_->OnData(data);
    if (body_.size() + data.size() > limit_) {
      return ResourceExhausted("{}: answer is longer than {} bytes", http::RedactUrl(head_.url),
                               limit_);
    }
    body_ += data;
    return OkStatus();
  }

  // What came of the request, whose body is in here: an error that was cut off is an answer too.
  Result<http::Response> Conclude(Result<http::Response> response, http::Failure& failure) {
    if (!response.ok()) {
      if (!cut_off_) return response;
      failure = http::Failure::kNone;
      response = std::move(head_);
    }
    response->body = std::move(body_);
    return response;
  }

 private:
  http::ResponseSink* inner_;
  const size_t limit_;
  bool good_ = false;
  bool cut_off_ = false;
  size_t read_ = 0;
  http::Response head_;
  std::string body_;
};

}  // namespace

Result<http::Response> StreamGood(http::Client& client, const http::Request& request,
                                  http::ResponseSink& sink, http::Failure& failure) {
  GatedSink gated(&sink, 0);
  return gated.Conclude(client.Stream(request, gated, &failure), failure);
}

Exchange::Exchange(Registry& registry, Endpoint endpoint, const progress::Activity& activity,
                   std::string repository, Purpose purpose)
    : registry_(registry),
      endpoint_(std::move(endpoint)),
      activity_(activity),
      repository_(std::move(repository)),
      purpose_(purpose),
      scheme_(endpoint_.schemes[SchemeIndex()]) {}

size_t Exchange::SchemeIndex() const {
  if (endpoint_.schemes.size() == 1) return 0;
  const MutexLock lock(registry_.mutex_);
  const auto it = registry_.schemes_.find(endpoint_.host + " " + endpoint_.schemes.front());
  return it == registry_.schemes_.end() ? 0 : it->second;
}

void Exchange::RememberScheme(size_t index) {
  scheme_ = endpoint_.schemes[index];
  if (endpoint_.schemes.size() == 1) return;
  const MutexLock lock(registry_.mutex_);
  registry_.schemes_[endpoint_.host + " " + endpoint_.schemes.front()] = index;
}

std::string Exchange::UrlOf(const Call& call) const {
  if (call.target.find("://") != std::string::npos) return call.target;
  std::string url = scheme_ + "://" + endpoint_.host + endpoint_.prefix;
  url += "/" + repository_ + call.target;
  return endpoint_.ns.empty() ? url : http::WithQuery(std::move(url), "ns", endpoint_.ns);
}

AuthAttempt Exchange::NewAttempt(const Call& call) const {
  AuthAttempt attempt;
  attempt.host = endpoint_.host;
  attempt.purpose = purpose_;
  attempt.tls = endpoint_.tls;
  attempt.secure = scheme_ == "https" && endpoint_.tls.verify;
  attempt.scopes.Add(ScopeResource(), "pull");
  if (purpose_ == Purpose::kPush) attempt.scopes.Add(ScopeResource(), "push");
  attempt.scopes.AddAll(call.extra_scopes);
  attempt.sessions = activity_.sessions->SessionIds();
  if (attempt.sessions.empty()) attempt.sessions.emplace_back();
  return attempt;
}

http::Request Exchange::NewRequest(const Call& call) const {
  http::Request request;
  request.method = call.method;
  request.url = UrlOf(call);
  request.headers = call.headers;
  request.body = call.body;
  request.tls = endpoint_.tls;
  request.cancel = activity_.cancel;
  request.deadline = activity_.deadline;
  request.stall_timeout = call.stall_timeout;
  request.is_document = call.sink == nullptr && call.body == nullptr;
  if (endpoint_.schemes.size() > 1) request.connect_timeout = kProbeTimeout;
  return request;
}

Result<http::Response> Exchange::SendOnce(const http::Request& request, const Call& call,
                                          http::Failure& failure) {
  GatedSink sink(call.sink, call.body_limit);
  return sink.Conclude(registry_.client_.Stream(request, sink, &failure), failure);
}

bool Exchange::IsOurs(const std::string& url) const {
  const auto own = http::Url::Parse(scheme_ + "://" + endpoint_.host);
  const auto to = http::Url::Parse(url);
  return own.ok() && to.ok() && http::SameOrigin(*own, *to);
}

std::string Exchange::ScopeResource() const {
  const std::string_view path = std::string_view(endpoint_.prefix).substr(kApiPrefix.size());
  const std::string resource = "repository:" + std::string(path.empty() ? "" : path.substr(1));
  return resource + (path.empty() ? "" : "/") + repository_;
}

Result<http::Response> Exchange::SendAuthorized(const Call& call, http::Failure& failure) {
  AuthAttempt attempt = NewAttempt(call);
  const http::Request plain = NewRequest(call);
  // Credentials go to the endpoint only, wherever a Location points.
  const bool ours = IsOurs(plain.url);
  for (int round = 0; round < kMaxAuthAttempts; ++round) {
    http::Request request = plain;
    if (ours) {
      auto header = registry_.authorizer_->Header(activity_, attempt);
      if (!header.ok()) {
        failure = http::Failure::kRequest;
        return std::move(header).error();
      }
      if (!header->empty()) request.headers.push_back({"Authorization", header->Reveal()});
    }
    if (round > 0 && call.body != nullptr) TRY(call.body->Rewind());
    TRY_ASSIGN(http::Response response, SendOnce(request, call, failure));
    // Nor may a redirect's target choose where credentials go.
    if (response.status != 401 || !ours || !IsOurs(response.url)) return response;
    Status next = registry_.authorizer_->OnUnauthorized(activity_, attempt, response);
    if (!next.ok()) {
      failure = http::Failure::kRequest;
      return std::move(next).error();
    }
  }
  failure = http::Failure::kRequest;
  return Unauthenticated("authorization failed: {} asks again and again", endpoint_.host);
}

bool Exchange::WrongScheme(const Result<http::Response>& response, http::Failure failure) const {
  if (scheme_ == "http") {
    // An HTTPS server tells so in a bare 400, to a HEAD without a body.
    return response.ok() && response->status == 400 &&
           (response->body.find("HTTPS server") != std::string::npos ||
            (response->body.empty() &&
             response->header("Docker-Distribution-Api-Version").empty()));
  }
  if (response.ok()) return false;
  switch (failure) {
    case http::Failure::kTls:
      // Not a certificate that failed: a peer that does not speak TLS.
      return response.error().code() == Code::kUnavailable;
    case http::Failure::kTimeout:
    case http::Failure::kProtocol:
    case http::Failure::kBroken:
      return true;
    case http::Failure::kConnect:
      return endpoint_.fallback_on_refusal;
    default:
      return false;
  }
}

Result<http::Response> Exchange::Send(const Call& call, http::Failure* failure) {
  http::Failure ignored = http::Failure::kNone;
  http::Failure& outcome = failure != nullptr ? *failure : ignored;
  outcome = http::Failure::kNone;
  Result<http::Response> response = SendAuthorized(call, outcome);
  const bool last = scheme_ == endpoint_.schemes.back();
  if (!last && WrongScheme(response, outcome) && activity_.Check().ok()) {
    scheme_ = endpoint_.schemes.back();
    if (call.body != nullptr) TRY(call.body->Rewind());
    http::Failure second_outcome = http::Failure::kNone;
    Result<http::Response> second = SendAuthorized(call, second_outcome);
    if (!second.ok() && response.ok()) {
      scheme_ = endpoint_.schemes.front();
      return response;
    }
    outcome = second_outcome;
    response = std::move(second);
    if (response.ok()) RememberScheme(endpoint_.schemes.size() - 1);
  }
  return response;
}

http::Attempt Exchange::Judge(const Call& call, const Result<http::Response>& response,
                              http::Failure failure) const {
  if (!response.ok()) {
    return {.status = response.error(), .retryable = http::IsRetryableFailure(failure)};
  }
  if (!http::IsRetryableStatus(response->status)) return {};
  return {.status = UnexpectedStatus(call.method, *response),
          .retryable = true,
          .delay = http::RetryAfter(*response, registry_.clock_.Now())};
}

void Exchange::LogRetry(const Error& error, milliseconds delay) const {
  progress::VertexLog log;
  log.timestamp = registry_.clock_.Now();
  log.stream = progress::Stream::kStderr;
  log.data = fmt::format("error: {}\nretrying in {:g}s\n", error.ToString(),
                         static_cast<double>(delay.count()) / 1000);
  activity_.sink->OnLog(log);
}

Result<http::Response> Exchange::SendWithRetries(const Call& call,
                                                 const http::RetryPolicy& policy) {
  std::optional<Result<http::Response>> last;
  const auto attempt = [&] {
    if (last && call.body != nullptr) {
      if (Status status = call.body->Rewind(); !status.ok()) return http::Attempt{status};
    }
    http::Failure failure = http::Failure::kNone;
    last = Send(call, &failure);
    return Judge(call, *last, failure);
  };
  const auto log = [this](const Error& error, milliseconds delay) { LogRetry(error, delay); };
  TRY(http::Retry(policy, activity_.cancel, attempt, log));
  return *std::move(last);
}

}  // namespace kiln::registry
