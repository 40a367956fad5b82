// Repository: writing blobs and manifests.

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/errors.h"
#include "registry/registry.h"
#include "registry/repository_calls.h"
#include "registry/slots.h"

namespace kiln::registry {
namespace {

// Chunks for those who do not take a blob at once, and for those who said that it is too large.
constexpr int64_t kChunkBytes = int64_t{16} << 20;
constexpr int64_t kSmallChunkBytes = int64_t{1} << 20;
constexpr int64_t kMaxChunkBytes = int64_t{512} << 20;
constexpr std::string_view kMinChunkHeader = "OCI-Chunk-Min-Length";

// How many leading path components agree.
size_t CommonComponents(std::string_view a, std::string_view b) {
  const auto left = Split(a, '/');
  const auto right = Split(b, '/');
  size_t count = 0;
  while (count < left.size() && count < right.size() && left[count] == right[count]) ++count;
  return count;
}

std::string BestMountSource(const std::vector<std::string>& candidates, const std::string& path) {
  std::string best;
  size_t best_common = 0;
  for (const std::string& candidate : candidates) {
    if (candidate.empty() || candidate == path) continue;
    const size_t common = CommonComponents(candidate, path);
    if (best.empty() || common > best_common) {
      best = candidate;
      best_common = common;
    }
  }
  return best;
}

Error PushFailure(std::string_view method, const http::Response& answer) {
  if (answer.status == 401 || answer.status == 403) {
    return AccessDenied(Purpose::kPush, method, answer);
  }
  return UnexpectedStatus(method, answer);
}

Status CheckStoredDigest(const http::Response& answer, const Digest& expected) {
  const std::string_view text = answer.header("Docker-Content-Digest");
  if (text.empty()) return OkStatus();
  auto stored = Digest::Parse(text);
  if (stored.ok() && *stored == expected) return OkStatus();
  return FailedPrecondition("got digest {}, expected {}", Quoted(text, 100), expected);
}

// Answers to a blob sent at once by which registries, or proxies before them, mean that they want
// it in pieces.
bool WantsChunks(int status) {
  return status == 405 || status == 411 || status == 413 || status == 415 || status == 501;
}

// So many bytes of a body, from where it stands.
class Chunk final : public http::BodySource {
 public:
  Chunk(http::BodySource& body, int64_t start, int64_t size)
      : body_(body), start_(start), size_(size) {}

  Result<size_t> Read(char* buffer, size_t size) override {
    const auto wanted = std::min<uint64_t>(size, static_cast<uint64_t>(size_ - read_));
    if (wanted == 0) return size_t{0};
    TRY_ASSIGN(const size_t n, body_.Read(buffer, wanted));
    read_ += static_cast<int64_t>(n);
    return n;
  }
  Status Rewind() override {
    TRY(body_.Rewind());
    read_ = 0;
    std::string skipped(64 << 10, '\0');
    for (int64_t at = 0; at < start_;) {
      const auto wanted = std::min<int64_t>(static_cast<int64_t>(skipped.size()), start_ - at);
      TRY_ASSIGN(const size_t n, body_.Read(skipped.data(), static_cast<size_t>(wanted)));
      if (n == 0) return DataLoss("body ended after {} of {} bytes", at, start_ + size_);
      at += static_cast<int64_t>(n);
    }
    return OkStatus();
  }
  std::optional<int64_t> size() const override { return size_; }

 private:
  http::BodySource& body_;
  const int64_t start_;
  const int64_t size_;
  int64_t read_ = 0;
};

// One blob to one repository.
class Upload {
 public:
  Upload(Exchange& exchange, const RegistryOptions& options, const oci::Descriptor& descriptor,
         http::BodySource& body)
      : exchange_(exchange), options_(options), descriptor_(descriptor), body_(body) {}

  Status Run(const std::string& mount_from) {
    TRY_ASSIGN(const bool present, Exists());
    if (present) return OkStatus();
    const auto attempt = [&]() -> http::Attempt {
      if (Status status = body_.Rewind(); !status.ok()) return {.status = status};
      return Once(mount_from);
    };
    const auto log = [this](const Error& error, std::chrono::milliseconds delay) {
      exchange_.LogRetry(error, delay);
    };
    return http::Retry(options_.retry, exchange_.activity().cancel, attempt, log);
  }

 private:
  Result<bool> Exists() {
    const Call call{.method = "HEAD", .target = "/blobs/" + descriptor_.digest.ToString()};
    TRY_ASSIGN(const http::Response answer, exchange_.SendWithRetries(call, options_.retry));
    if (answer.ok()) return true;
    if (answer.status == 404) return false;
    return PushFailure("HEAD", answer);
  }

  http::Attempt Once(const std::string& mount_from) {
    bool mounted = false;
    std::string location;
    http::Attempt begun = Begin(mount_from, mounted, location);
    if (!begun.status.ok() || mounted) return begun;
    if (chunk_bytes_ > 0) return PutInChunks(std::move(location));
    std::optional<int> refused;
    http::Attempt put = Finish(location, &body_, refused);
    if (!refused) return put;
    // Again, with an upload of its own; and so do later attempts.
    chunk_bytes_ = *refused == 413 ? kSmallChunkBytes : kChunkBytes;
    if (Status status = body_.Rewind(); !status.ok()) return {.status = status};
    begun = Begin("", mounted, location);
    return begun.status.ok() ? PutInChunks(std::move(location)) : begun;
  }

  // POST: either the blob is mounted from another repository, or `location` is where to send it.
  http::Attempt Begin(const std::string& mount_from, bool& mounted, std::string& location) {
    if (!mount_from.empty()) {
      Call call{.method = "POST", .target = "/blobs/uploads/"};
      call.target = http::WithQuery(std::move(call.target), "mount", descriptor_.digest.ToString());
      call.target = http::WithQuery(std::move(call.target), "from", mount_from);
      call.extra_scopes.Add("repository:" + mount_from, "pull");
      const auto answer = exchange_.Send(call);
      mounted = answer.ok() && answer->status == 201;
      if (mounted) return {};
      if (answer.ok() && answer->status == 202) return TakeLocation(*answer, location);
      // Not allowed, or not known: upload it.
    }
    const Call call{.method = "POST", .target = "/blobs/uploads/"};
    http::Failure failure = http::Failure::kNone;
    const auto answer = exchange_.Send(call, &failure);
    http::Attempt attempt = exchange_.Judge(call, answer, failure);
    if (!attempt.status.ok()) return attempt;
    if (answer->status == 200 || answer->status == 202 || answer->status == 204) {
      return TakeLocation(*answer, location);
    }
    return {.status = PushFailure("POST", *answer)};
  }

  http::Attempt TakeLocation(const http::Response& answer, std::string& location) {
    min_chunk_bytes_ = ParseInt(answer.header(kMinChunkHeader)).value_or(0);
    const std::string_view header = answer.header("Location");
    if (header.empty()) {
      return {.status = Unavailable("{}: the registry gave no Location to upload to",
                                    http::RedactUrl(answer.url))};
    }
    auto resolved = http::ResolveUrl(answer.url, header);
    if (!resolved.ok()) return {.status = resolved.error()};
    location = *std::move(resolved);
    return {};
  }

  // Ends the upload, with the whole blob or nothing in its body. `refused`: the status, if it is
  // one that chunks may help with.
  http::Attempt Finish(const std::string& location, http::BodySource* body,
                       std::optional<int>& refused) {
    Call call{.method = "PUT", .body = body, .stall_timeout = options_.upload_stall};
    call.target = http::WithQuery(location, "digest", descriptor_.digest.ToString());
    call.headers = {{"Content-Type", "application/octet-stream"}};
    http::Failure failure = http::Failure::kNone;
    const auto answer = exchange_.Send(call, &failure);
    if (answer.ok() && WantsChunks(answer->status)) refused = answer->status;
    http::Attempt attempt = exchange_.Judge(call, answer, failure);
    if (!attempt.status.ok()) return attempt;
    if (!answer->ok()) return {.status = PushFailure("PUT", *answer)};
    return {.status = CheckStoredDigest(*answer, descriptor_.digest)};
  }

  http::Attempt PutInChunks(std::string location) {
    const int64_t step = std::clamp(min_chunk_bytes_, chunk_bytes_, kMaxChunkBytes);
    for (int64_t start = 0; start < descriptor_.size; start += step) {
      const int64_t size = std::min(step, descriptor_.size - start);
      http::Attempt sent = Patch(start, size, location);
      if (!sent.status.ok()) return sent;
    }
    std::optional<int> refused;
    return Finish(location, nullptr, refused);
  }

  // `location` becomes where the next one goes.
  http::Attempt Patch(int64_t start, int64_t size, std::string& location) {
    Chunk chunk(body_, start, size);
    Call call{.method = "PATCH",
              .target = location,
              .body = &chunk,
              .stall_timeout = options_.upload_stall};
    call.headers = {{"Content-Type", "application/octet-stream"},
                    {"Content-Range", fmt::format("{}-{}", start, start + size - 1)}};
    http::Failure failure = http::Failure::kNone;
    const auto answer = exchange_.Send(call, &failure);
    http::Attempt attempt = exchange_.Judge(call, answer, failure);
    if (!attempt.status.ok()) return attempt;
    if (!answer->ok()) return {.status = PushFailure("PATCH", *answer)};
    return answer->header("Location").empty() ? http::Attempt{} : TakeLocation(*answer, location);
  }

  Exchange& exchange_;
  const RegistryOptions& options_;
  const oci::Descriptor& descriptor_;
  http::BodySource& body_;
  int64_t chunk_bytes_ = 0;      // 0: the blob at once
  int64_t min_chunk_bytes_ = 0;  // as the registry asks for
};

Status Denied(Status status) {
  if (!status.ok() && IsDenied(status.error()) && status.error().contexts().empty()) {
    return AccessDenied(Purpose::kPush, std::move(status).error());
  }
  return status;
}

}  // namespace

Status Repository::PushBlob(const progress::Activity& activity, const oci::Descriptor& descriptor,
                            http::BodySource& body,
                            const std::vector<std::string>& mount_from) const {
  const auto size = body.size();
  if (!size || *size != descriptor.size) return WrongSize(size ? *size : 0, descriptor.size);
  TRY_ASSIGN(const auto endpoints, Endpoints(Purpose::kPush));
  TRY_ASSIGN(const auto slot,
             registry_->slots_->Acquire(activity, host(), Purpose::kPush, /*is_json=*/false));
  TRY_ASSIGN(Exchange exchange, MakeExchange(endpoints.front(), activity, Purpose::kPush));
  return Denied(Upload(exchange, registry_->options_, descriptor, body)
                    .Run(BestMountSource(mount_from, path())));
}

Status Repository::PushManifest(const progress::Activity& activity,
                                const oci::Descriptor& descriptor, std::string_view content,
                                std::string_view tag) const {
  if (Sha256Of(content) != descriptor.digest) {
    return WrongDigest(Sha256Of(content), descriptor.digest);
  }
  TRY_ASSIGN(const auto endpoints, Endpoints(Purpose::kPush));
  TRY_ASSIGN(const auto slot,
             registry_->slots_->Acquire(activity, host(), Purpose::kPush, /*is_json=*/true));
  TRY_ASSIGN(Exchange exchange, MakeExchange(endpoints.front(), activity, Purpose::kPush));
  Call call{.method = "HEAD"};
  call.target = "/manifests/" + (tag.empty() ? descriptor.digest.ToString() : std::string(tag));
  call.headers = {{"Accept", descriptor.media_type + ", */*"}};
  auto head = exchange.SendWithRetries(call, PolicyAt(true));
  if (!head.ok()) return Denied(std::move(head).error());
  if (head->ok()) {
    const auto present = Digest::Parse(head->header("Docker-Content-Digest"));
    if (present.ok() && *present == descriptor.digest) return OkStatus();
  } else if (head->status != 404) {
    return PushFailure("HEAD", *head);
  }
  http::StringSource body(content);
  call.method = "PUT";
  call.headers = {{"Content-Type", descriptor.media_type}};
  call.body = &body;
  auto answer = exchange.SendWithRetries(call, PolicyAt(true));
  if (!answer.ok()) return Denied(std::move(answer).error());
  if (!answer->ok()) return PushFailure("PUT", *answer);
  return CheckStoredDigest(*answer, descriptor.digest);
}

}  // namespace kiln::registry
