#include "source/http_download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "archive/stream.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/gzip_sink.h"
#include "http/retry.h"
#include "http/url.h"
#include "session/content.h"
#include "session/secrets.h"
#include "source/disk_room.h"
#include "source/job_views.h"
#include "store/store.h"

namespace kiln::source {
namespace {

constexpr std::string_view kUrlLabel = "http.url";
constexpr std::string_view kChecksumLabel = "http.checksum";
constexpr std::string_view kEtagLabel = "http.etag";
constexpr std::string_view kModifiedLabel = "http.modified";
constexpr std::string_view kTrustModifiedLabel = "http.modified.trusted";
constexpr std::string_view kFilenameLabel = "http.filename";
constexpr const char* kPartName = ".kiln-download";
constexpr size_t kMaxKnown = 16;  // validators sent in one request
constexpr uint64_t kCheckSpaceEvery = uint64_t{16} << 20;
constexpr std::string_view kUploadHost = "buildkit-session";
// Two changes within so short a time may have one Last-Modified.
constexpr std::chrono::seconds kDateResolution{2};

// A part of the file, which nobody asked for, is not the file.
bool IsGood(int status) { return status >= 200 && status < 400 && status != 206; }

constexpr const char* kBadStatus = "invalid response status";

Error BadStatus(int status) { return Unknown("{} {}", kBadStatus, status); }

// An error says which URL it is about; that of a status does not, as everywhere.
Result<HttpFile> Named(Result<HttpFile> file, const std::string& url) {
  if (!file.ok() && !file.error().message().starts_with(kBadStatus)) file.error().AddContext(url);
  return file;
}

// The file that is being written, in the directory of a new snapshot.
class PartFile {
 public:
  static Result<PartFile> Create(store::Store& store, const progress::Activity& activity) {
    PartFile file;
    TRY_ASSIGN(file.active_, store.Prepare(activity, {}));
    TRY_ASSIGN(file.dir_, OpenFile(file.active_.upper_dir(), O_RDONLY | O_DIRECTORY));
    file.file_.Reset(
        openat(file.dir_.get(), kPartName, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.file_.valid()) return ErrnoError(errno, "create a file to download to");
    return file;
  }

  Status Restart() {
    hash_.Reset();
    bytes_ = 0;
    next_check_ = 0;
    if (ftruncate(file_.get(), 0) != 0 || lseek(file_.get(), 0, SEEK_SET) != 0) {
      return ErrnoError(errno, "start a download again");
    }
    return OkStatus();
  }

  Status Write(std::string_view data) {
    if (bytes_ >= next_check_) {
      next_check_ = bytes_ + kCheckSpaceEvery;
      struct statvfs space{};
      if (fstatvfs(file_.get(), &space) == 0 && Room(space) < kCheckSpaceEvery) {
        return ResourceExhausted("the disk is nearly full after {} were downloaded",
                                 HumanBytes(static_cast<int64_t>(bytes_)));
      }
    }
    TRY(WriteAll(file_.get(), data));
    hash_.Update(data);
    bytes_ += data.size();
    return OkStatus();
  }

  uint64_t bytes() const { return bytes_; }
  Digest Finish() { return hash_.Finish(); }

  // Gives the file its name, owner, mode and time, and makes a snapshot of it.
  Result<store::SnapshotRef> Commit(store::Store& store, const llb::HttpSource& spec,
                                    const std::string& name, WallTime mtime,
                                    const store::CommitOptions& options) {
    const mode_t mode = spec.mode.value_or(0600) & 07777;
    const auto since = mtime.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    const timespec stamp{seconds.count(), static_cast<long>((since - seconds).count())};
    const timespec times[2] = {stamp, stamp};
    if (fchown(file_.get(), spec.uid, spec.gid) != 0 || fchmod(file_.get(), mode) != 0 ||
        futimens(file_.get(), times) != 0 ||
        renameat(dir_.get(), kPartName, dir_.get(), name.c_str()) != 0) {
      return ErrnoError(errno, "file {}", name);
    }
    file_.Reset();
    dir_.Reset();
    return store.Commit(std::move(active_), options);
  }

 private:
  store::ActiveSnapshot active_;
  Fd dir_;
  Fd file_;
  Sha256 hash_;
  uint64_t bytes_ = 0;
  uint64_t next_check_ = 0;
};

// A response's body on its way into a file; bodies of errors are dropped.
class ResponseFile final : public http::ResponseSink {
 public:
  ResponseFile(PartFile& file, progress::StatusScope& status) : file_(file), status_(status) {}
  Status OnHeaders(const http::Response& response) override {
    wanted_ = response.ok();
    total_ = response.content_length().value_or(0);
    return file_.Restart();
  }
  Status OnData(std::string_view data) override {
    if (!wanted_) return OkStatus();
    TRY(file_.Write(data));
    status_.Update(static_cast<int64_t>(file_.bytes()), total_);
    return OkStatus();
  }

 private:
  PartFile& file_;
  progress::StatusScope& status_;
  bool wanted_ = false;
  int64_t total_ = 0;
};

class PartSink final : public archive::ByteSink {
 public:
  PartSink(PartFile& file, progress::StatusScope& status) : file_(file), status_(status) {}
  Status Write(std::string_view data) override {
    TRY(file_.Write(data));
    status_.Update(static_cast<int64_t>(file_.bytes()), 0);
    return OkStatus();
  }

 private:
  PartFile& file_;
  progress::StatusScope& status_;
};

Status CheckDigest(const llb::HttpSource& spec, const Digest& got) {
  if (!spec.checksum || *spec.checksum == got) return OkStatus();
  return Unknown("digest mismatch {}: {}", got, *spec.checksum);
}

// The one that a 304, or a tag that is still the same, is about.
const EarlierDownload* FindEtag(const std::vector<EarlierDownload>& known,
                                const http::Response& response) {
  const std::string etag = EtagOf(response);
  std::vector<const EarlierDownload*> tagged;
  for (const EarlierDownload& one : known) {
    if (!one.etag.empty()) tagged.push_back(&one);
  }
  // Some servers leave the tag out of a 304: it is about the only one they were asked for.
  if (etag.empty() && response.status == 304 && tagged.size() == 1) return tagged.front();
  for (const EarlierDownload* one : tagged) {
    if (one->etag == etag) return one;
  }
  return nullptr;
}

std::string Etags(const std::vector<EarlierDownload>& known) {
  std::vector<std::string> etags;
  for (const EarlierDownload& one : known) {
    if (!one.etag.empty() && std::find(etags.begin(), etags.end(), one.etag) == etags.end())
      etags.push_back(one.etag);
  }
  return Join(etags, ", ");
}

}  // namespace

std::string HttpDownload::UrlKey() const {
  std::string text =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", spec_.url, spec_.filename, spec_.mode.value_or(0600),
                  spec_.uid, spec_.gid, spec_.auth_header_secret);
  for (const auto& [name, value] : spec_.headers) text += "\n" + name + ": " + value;
  return Sha256Of(text).hex();
}

bool HttpDownload::is_upload() const {
  const auto url = http::Url::Parse(spec_.url);
  return url.ok() && url->host == kUploadHost;
}

Result<HttpDownload::Known> HttpDownload::Earlier() const {
  store::Store& store = services_.store;
  TRY_ASSIGN(std::vector<store::SnapshotRef> refs, store.FindByLabel(kUrlLabel, UrlKey()));
  Known known;
  for (store::SnapshotRef& ref : refs) {
    if (known.size() == kMaxKnown) break;
    TRY_ASSIGN(const std::string checksum, store.Label(ref, kChecksumLabel));
    auto digest = Digest::Parse(checksum);
    if (!digest.ok()) continue;
    EarlierDownload one;
    one.file.checksum = *digest;
    TRY_ASSIGN(one.file.filename, store.Label(ref, kFilenameLabel));
    TRY_ASSIGN(one.file.last_modified, store.Label(ref, kModifiedLabel));
    TRY_ASSIGN(one.etag, store.Label(ref, kEtagLabel));
    one.file.ref = std::move(ref);
    known.push_back(std::move(one));
  }
  return known;
}

Result<std::string> HttpDownload::SecretHeader(const progress::Activity& activity) const {
  if (!spec_.auth_header_secret.empty()) {
    TRY_ASSIGN(const SecretString secret,
               session::GetSecret(services_.sessions, activity, spec_.auth_header_secret));
    return secret.Reveal();
  }
  if (activity.sessions->SessionIds().empty()) return std::string();
  TRY_ASSIGN(const http::Url url, http::Url::Parse(spec_.url));
  std::string header;
  for (const auto& [name, prefix] :
       {std::pair{"HTTP_AUTH_HEADER_", ""}, std::pair{"HTTP_AUTH_TOKEN_", "Bearer "}}) {
    auto secret = session::GetSecret(services_.sessions, activity, name + url.host);
    if (secret.ok()) {
      header = prefix + secret->Reveal();
    } else if (secret.error().code() != Code::kNotFound) {
      return std::move(secret).error();
    }
  }
  return header;
}

Result<std::string> HttpDownload::Authorization(const progress::Activity& activity) const {
  TRY_ASSIGN(std::string header, SecretHeader(activity));
  header = Trim(header);
  for (const char c : header) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return InvalidArgument("the secret for the Authorization header has more than one line");
    }
  }
  return header.empty() ? http::SplitUserInfo(spec_.url).authorization : header;
}

Result<http::Request> HttpDownload::NewRequest(const progress::Activity& activity) const {
  http::Request request;
  request.url = http::SplitUserInfo(spec_.url).url;
  request.cancel = activity.cancel;
  request.deadline = activity.deadline;
  for (const auto& [name, value] : spec_.headers) http::SetHeader(request.headers, name, value);
  // Also of HEAD: servers have a tag for each form.
  http::SetHeader(request.headers, "Accept-Encoding", std::string(http::kAcceptGzip));
  TRY_ASSIGN(std::string authorization, Authorization(activity));
  if (!authorization.empty())
    http::SetHeader(request.headers, "Authorization", std::move(authorization));
  return request;
}

// Some servers send tags but do not honour If-None-Match: a HEAD request lets us compare.
std::optional<HttpFile> HttpDownload::StillValid(http::Request request, const Known& known) const {
  request.method = "HEAD";
  const auto response = services_.http.Send(request);
  if (!response.ok() || (response->status != 200 && response->status != 304)) return std::nullopt;
  const EarlierDownload* same = FindEtag(known, *response);
  return same == nullptr ? std::nullopt : std::optional(same->file);
}

Result<HttpFile> HttpDownload::Current(const progress::Activity& activity) const {
  const std::string key = "http " + UrlKey();
  if (auto seen = services_.views->Find<HttpFile>(activity, key)) return *std::move(seen);
  TRY_ASSIGN(HttpFile file, Ask(activity));
  return services_.views->Keep(activity, key, std::move(file));
}

Result<HttpFile> HttpDownload::Ask(const progress::Activity& activity) const {
  const std::string shown = http::RedactUrl(spec_.url);
  if (is_upload()) {
    TRY_ASSIGN_CTX(HttpFile file, FromSession(activity), "{}", shown);
    return file;
  }
  TRY_ASSIGN(const Known known, Earlier());
  TRY_ASSIGN_CTX(http::Request request, NewRequest(activity), "{}", shown);
  if (const std::string etags = Etags(known); !etags.empty()) {
    http::SetHeader(request.headers, "If-None-Match", etags);
    if (auto same = StillValid(request, known)) return *std::move(same);
    TRY(activity.Check());
  } else if (!known.empty()) {
    TRY_ASSIGN(const std::string trusted,
               services_.store.Label(known.front().file.ref, kTrustModifiedLabel));
    if (!trusted.empty()) {
      http::SetHeader(request.headers, "If-Modified-Since", known.front().file.last_modified);
    }
  }
  return Named(Get(activity, request, known), shown);
}

Result<HttpFile> HttpDownload::Pinned(const progress::Activity& activity) const {
  const std::string shown = http::RedactUrl(spec_.url);
  TRY_ASSIGN(Known known, Earlier());
  for (EarlierDownload& one : known) {
    if (one.file.checksum == *spec_.checksum) return std::move(one.file);
  }
  if (is_upload()) {
    TRY_ASSIGN_CTX(HttpFile file, FromSession(activity), "{}", shown);
    return file;
  }
  TRY_ASSIGN_CTX(http::Request request, NewRequest(activity), "{}", shown);
  return Named(Get(activity, request, {}), shown);
}

Result<http::Response> HttpDownload::Receive(const progress::Activity& activity,
                                             const http::Request& request,
                                             http::ResponseSink& sink) const {
  http::Response response;
  http::RetryPolicy policy;
  policy.attempts = 3;
  policy.first_delay = std::chrono::milliseconds(200);
  policy.max_delay = std::chrono::seconds(5);
  const auto attempt = [&]() -> http::Attempt {
    http::Failure failure = http::Failure::kNone;
    auto answer = services_.http.Stream(request, sink, &failure);
    if (!answer.ok()) return {std::move(answer).error(), http::IsRetryableFailure(failure), {}};
    response = *std::move(answer);
    if (IsGood(response.status)) return {};
    return {BadStatus(response.status), http::IsRetryableStatus(response.status),
            http::RetryAfter(response, services_.clock.Now())};
  };
  TRY(http::Retry(policy, activity.cancel, attempt, [&](const Error& error, auto) {
    LOG_INFO("downloading {}: {}, trying again", http::RedactUrl(spec_.url), error);
  }));
  return response;
}

// Asks once more, without conditions, at most.
// NOLINTNEXTLINE(misc-no-recursion)
Result<HttpFile> HttpDownload::Get(const progress::Activity& activity, const http::Request& request,
                                   const Known& known) const {
  TRY_ASSIGN(PartFile part, PartFile::Create(services_.store, activity));
  progress::StatusScope status(activity, services_.clock, Digest(),
                               "downloading " + http::RedactUrl(spec_.url));
  ResponseFile file_sink(part, status);
  http::GzipSink sink(file_sink);
  TRY_ASSIGN(const http::Response response, Receive(activity, request, sink));
  if (response.status == 304) {
    if (const EarlierDownload* same = FindEtag(known, response)) return same->file;
    if (!http::FindHeader(request.headers, "If-Modified-Since").empty()) return known.front().file;
    // About a tag that nobody asked for, as of a packed form: so without conditions.
    if (!http::FindHeader(request.headers, "If-None-Match").empty()) {
      http::Request plain = request;
      http::RemoveHeader(plain.headers, "If-None-Match");
      return Get(activity, plain, {});
    }
  }
  if (!response.ok()) return BadStatus(response.status);
  TRY(sink.Finish());
  HttpFile file;
  file.checksum = part.Finish();
  TRY(CheckDigest(spec_, file.checksum));
  file.filename = HttpFilename(spec_, &response);
  file.last_modified = Trim(response.header("Last-Modified"));
  const auto modified = http::ParseHttpDate(file.last_modified);
  const auto date = http::ParseHttpDate(response.header("Date"));
  store::CommitOptions options;
  options.description = "http url " + http::RedactUrl(spec_.url);
  const auto label = [&](std::string_view name, std::string value) {
    if (!value.empty()) options.labels[std::string(name)] = std::move(value);
  };
  label(kUrlLabel, UrlKey());
  label(kChecksumLabel, file.checksum.ToString());
  label(kFilenameLabel, file.filename);
  label(kModifiedLabel, file.last_modified);
  label(kEtagLabel, EtagOf(response));
  if (modified && date && *date - *modified >= kDateResolution) label(kTrustModifiedLabel, "true");
  TRY_ASSIGN(file.ref, part.Commit(services_.store, spec_, file.filename,
                                   modified.value_or(WallTime()), options));
  return file;
}

// http://buildkit-session/ID: what the client offers once, over its session.
Result<HttpFile> HttpDownload::FromSession(const progress::Activity& activity) const {
  TRY_ASSIGN(const http::Url url, http::Url::Parse(spec_.url));
  TRY_ASSIGN(PartFile part, PartFile::Create(services_.store, activity));
  progress::StatusScope status(activity, services_.clock, Digest(), "receiving " + url.path);
  TRY(session::Any(services_.sessions, activity, [&](session::Session& session) -> Status {
    TRY(part.Restart());
    PartSink sink(part, status);
    return session::PullUpload(activity, session, url.path, url.host, sink);
  }));
  HttpFile file;
  file.checksum = part.Finish();
  TRY(CheckDigest(spec_, file.checksum));
  file.filename = HttpFilename(spec_, nullptr);
  store::CommitOptions options;
  options.description = "upload of a client";
  TRY_ASSIGN(file.ref, part.Commit(services_.store, spec_, file.filename, WallTime(), options));
  return file;
}

}  // namespace kiln::source
