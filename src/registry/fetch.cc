// Repository: reading blobs as streams.

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/errors.h"
#include "registry/exchange.h"
#include "registry/registry.h"
#include "registry/repository_calls.h"
#include "registry/slots.h"

namespace kiln::registry {
namespace {

constexpr int kMaxResumes = 100;
// Each may be silent for its time; a manifest can name a hundred thousand.
constexpr size_t kMaxForeignUrls = 8;

// The first byte of "bytes 5-9/10"; nothing if it is not of that form.
std::optional<uint64_t> RangeStart(std::string_view content_range) {
  if (!content_range.starts_with("bytes ")) return std::nullopt;
  const auto parts = Cut(content_range.substr(6), "-");
  if (!parts) return std::nullopt;
  return ParseUint(parts->first);
}

// Passes on what follows the first `sink.offset()` bytes, checks that it is no more than promised.
class BlobReceiver final : public http::ResponseSink {
 public:
  // `check`: compares the digest even if the sink does so later.
  BlobReceiver(BlobSink& sink, int64_t size, bool check)
      : sink_(sink), size_(static_cast<uint64_t>(size)) {
    hashing_ = !sink.verifies_digest() || (check && sink.offset() == 0);
  }

  Status OnHeaders(const http::Response& response) override {
    skip_ = sink_.offset();
    if (response.status == 206) {
      const auto start = RangeStart(response.header("Content-Range"));
      if (!start || *start != skip_) {
        return Unavailable("{}: answer has another range than asked for",
                           http::RedactUrl(response.url));
      }
      skip_ = 0;
    }
    const std::string_view encoding = response.header("Content-Encoding");
    if (!encoding.empty() && !EqualsIgnoreCase(encoding, "identity")) {
      return Unavailable("{}: unexpected Content-Encoding {}", http::RedactUrl(response.url),
                         Quoted(encoding, 64));
    }
    return OkStatus();
  }

  Status OnData(std::string_view data) override {
    const size_t drop = std::min<uint64_t>(skip_, data.size());
    data.remove_prefix(drop);
    skip_ -= drop;
    if (data.empty()) return OkStatus();
    if (sink_.offset() + data.size() > size_) {
      return WrongSize(sink_.offset() + data.size(), static_cast<int64_t>(size_));
    }
    if (hashing_) hasher_.Update(data);
    return sink_.Write(data);
  }

  Status Restart() {
    hasher_.Reset();
    return sink_.Restart();
  }

  uint64_t offset() const { return sink_.offset(); }

  Status Verify(const Digest& expected) {
    if (!hashing_) return OkStatus();
    const Digest got = hasher_.Finish();
    hasher_.Reset();
    return got == expected ? OkStatus() : Status(WrongDigest(got, expected));
  }

 private:
  BlobSink& sink_;
  const uint64_t size_;
  uint64_t skip_ = 0;
  bool hashing_ = false;
  Sha256 hasher_;
};

// One blob from one place, as often resumed as it makes progress.
class Download {
 public:
  using SendFn = std::function<Result<http::Response>(const http::Headers&, http::ResponseSink&,
                                                      http::Failure&)>;

  Download(const oci::Descriptor& descriptor, std::string name, BlobReceiver& receiver)
      : descriptor_(descriptor), name_(std::move(name)), receiver_(receiver) {}

  Status Run(const progress::Activity& activity, const http::RetryPolicy& policy,
             const Clock& clock, const SendFn& send,
             const std::function<void(const Error&, std::chrono::milliseconds)>& log) {
    const auto size = static_cast<uint64_t>(descriptor_.size);
    int idle_tries = 0;
    for (int round = 0; round < kMaxResumes; ++round) {
      if (receiver_.offset() > size) TRY(receiver_.Restart());
      if (receiver_.offset() == size && size > 0) return Finish();
      const uint64_t start = receiver_.offset();
      http::Attempt attempt = Once(send, clock);
      if (attempt.status.ok()) return Finish();
      if (!attempt.retryable) return attempt.status;
      // A broken transfer that got on is resumed at once; others wait, and not for ever.
      if (receiver_.offset() > start) {
        idle_tries = 0;
        continue;
      }
      if (++idle_tries >= policy.attempts) return attempt.status;
      const auto delay = policy.DelayBefore(idle_tries, attempt.delay);
      log(attempt.status.error(), delay);
      if (activity.cancel.WaitFor(delay)) return activity.cancel.Check();
    }
    return Unavailable("{}: connection broke {} times", name_, kMaxResumes);
  }

 private:
  http::Attempt Once(const SendFn& send, const Clock& clock) {
    http::Headers headers = {{"Accept", "*/*"}};
    if (receiver_.offset() > 0) {
      headers.push_back({"Range", fmt::format("bytes={}-", receiver_.offset())});
    }
    http::Failure failure = http::Failure::kNone;
    const Result<http::Response> response = send(headers, receiver_, failure);
    if (!response.ok()) {
      return {.status = response.error(), .retryable = http::IsRetryableFailure(failure)};
    }
    if (response->ok()) return {};
    if (response->status == 404) return {.status = NotFound("{}: not found", name_)};
    if (response->status == 416 && receiver_.offset() > 0) {
      if (Status status = receiver_.Restart(); !status.ok()) return {.status = status};
      return {.status = UnexpectedStatus("GET", *response), .retryable = true};
    }
    if (response->status == 401 || response->status == 403) {
      return {.status = AccessDenied(Purpose::kPull, "GET", *response)};
    }
    return {.status = UnexpectedStatus("GET", *response),
            .retryable = http::IsRetryableStatus(response->status),
            .delay = http::RetryAfter(*response, clock.Now())};
  }

  Status Finish() {
    if (receiver_.offset() != static_cast<uint64_t>(descriptor_.size)) {
      return WrongSize(receiver_.offset(), descriptor_.size);
    }
    return receiver_.Verify(descriptor_.digest);
  }

  const oci::Descriptor& descriptor_;
  const std::string name_;
  BlobReceiver& receiver_;
};

}  // namespace

// From one of the descriptor's own URLs: no credentials, no registry protocol.
Status Repository::FetchForeign(const progress::Activity& activity,
                                const oci::Descriptor& descriptor, const std::string& url,
                                BlobSink& sink) const {
  BlobReceiver receiver(sink, descriptor.size, /*check=*/true);
  const auto send = [&](const http::Headers& headers, http::ResponseSink& into,
                        http::Failure& failure) {
    http::Request request;
    request.url = url;
    request.headers = headers;
    request.cancel = activity.cancel;
    request.deadline = activity.deadline;
    return StreamGood(registry_->client_, request, into, failure);
  };
  return Download(descriptor, http::RedactUrl(url), receiver)
      .Run(activity, {.attempts = 1}, registry_->clock_, send, [](const auto&, auto) {});
}

Status Repository::FetchAt(const Endpoint& endpoint, bool last, const progress::Activity& activity,
                           const oci::Descriptor& descriptor, BlobSink& sink) const {
  TRY_ASSIGN(Exchange exchange, MakeExchange(endpoint, activity, Purpose::kPull));
  // What a mirror gives is checked at once: there is another place to ask.
  BlobReceiver receiver(sink, descriptor.size, /*check=*/!last);
  const auto send = [&](const http::Headers& headers, http::ResponseSink& into,
                        http::Failure& failure) {
    Call call{
        .target = "/blobs/" + descriptor.digest.ToString(), .headers = headers, .sink = &into};
    return exchange.Send(call, &failure);
  };
  const auto log = [&](const Error& error, std::chrono::milliseconds delay) {
    exchange.LogRetry(error, delay);
  };
  const std::string blob = name() + "@" + descriptor.digest.ToString();
  Status status = Download(descriptor, blob, receiver)
                      .Run(activity, PolicyAt(last), registry_->clock_, send, log);
  if (!status.ok() && IsDenied(status.error()) && status.error().contexts().empty()) {
    return AccessDenied(Purpose::kPull, std::move(status).error());
  }
  if (!status.ok() && IsWrongContent(status.error()))
    status.error().AddContext(From(endpoint, blob));
  return status;
}

Status Repository::FetchBlob(const progress::Activity& activity, const oci::Descriptor& descriptor,
                             BlobSink& sink) const {
  TRY_ASSIGN(const auto endpoints, Endpoints(Purpose::kPull));
  TRY_ASSIGN(const auto slot,
             registry_->slots_->Acquire(activity, host(), Purpose::kPull, /*is_json=*/false));
  // What an earlier call left cannot be hashed here any more.
  if (sink.offset() > 0 && !sink.verifies_digest()) TRY(sink.Restart());
  size_t tried = 0;
  for (const std::string& url : descriptor.urls) {
    if (!url.starts_with("http://") && !url.starts_with("https://")) continue;
    if (tried++ == kMaxForeignUrls) break;
    if (FetchForeign(activity, descriptor, url, sink).ok()) return OkStatus();
    TRY(activity.Check());
    TRY(sink.Restart());
  }
  std::optional<Error> first;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    Status status = FetchAt(endpoints[i], i + 1 == endpoints.size(), activity, descriptor, sink);
    if (status.ok()) return OkStatus();
    TRY(activity.Check());
    if (!first || first->code() == Code::kNotFound) first = std::move(status).error();
    if (i + 1 < endpoints.size() || !sink.verifies_digest()) TRY(sink.Restart());
  }
  return *std::move(first);
}

}  // namespace kiln::registry
