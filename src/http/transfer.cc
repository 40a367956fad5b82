#include "http/transfer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::http {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kMaxHeaderBytes = size_t{256} << 10;
// Of the body of a redirect that is followed.
constexpr size_t kMaxDroppedBytes = size_t{1} << 20;
constexpr long kBufferBytes = 128L << 10;
// What counts as progress of a slow transfer.
constexpr size_t kSlowBytes = 1024;

struct FailureRow {
  CURLcode curl;
  Failure failure;
  Code code;
};

constexpr std::array<FailureRow, 22> kFailures = {{
    {CURLE_UNSUPPORTED_PROTOCOL, Failure::kRequest, Code::kInvalidArgument},
    {CURLE_URL_MALFORMAT, Failure::kRequest, Code::kInvalidArgument},
    {CURLE_COULDNT_RESOLVE_PROXY, Failure::kResolve, Code::kUnavailable},
    {CURLE_COULDNT_RESOLVE_HOST, Failure::kResolve, Code::kUnavailable},
    {CURLE_COULDNT_CONNECT, Failure::kConnect, Code::kUnavailable},
    {CURLE_OPERATION_TIMEDOUT, Failure::kTimeout, Code::kUnavailable},
    {CURLE_SSL_CONNECT_ERROR, Failure::kTls, Code::kUnavailable},
    {CURLE_PEER_FAILED_VERIFICATION, Failure::kTls, Code::kFailedPrecondition},
    {CURLE_SSL_CERTPROBLEM, Failure::kTls, Code::kFailedPrecondition},
    {CURLE_SSL_CACERT_BADFILE, Failure::kTls, Code::kFailedPrecondition},
    {CURLE_SSL_CIPHER, Failure::kTls, Code::kUnavailable},
    {CURLE_SSL_ISSUER_ERROR, Failure::kTls, Code::kFailedPrecondition},
    {CURLE_SSL_INVALIDCERTSTATUS, Failure::kTls, Code::kFailedPrecondition},
    {CURLE_SEND_ERROR, Failure::kBroken, Code::kUnavailable},
    {CURLE_RECV_ERROR, Failure::kBroken, Code::kUnavailable},
    {CURLE_PARTIAL_FILE, Failure::kBroken, Code::kUnavailable},
    {CURLE_GOT_NOTHING, Failure::kBroken, Code::kUnavailable},
    {CURLE_SEND_FAIL_REWIND, Failure::kBroken, Code::kUnavailable},
    {CURLE_WEIRD_SERVER_REPLY, Failure::kProtocol, Code::kUnavailable},
    {CURLE_BAD_CONTENT_ENCODING, Failure::kProtocol, Code::kUnavailable},
    {CURLE_OUT_OF_MEMORY, Failure::kRequest, Code::kResourceExhausted},
    {CURLE_PROXY, Failure::kConnect, Code::kUnavailable},
}};

FailureRow RowOf(CURLcode code) {
  for (const FailureRow& row : kFailures) {
    if (row.curl == code) return row;
  }
  return {code, Failure::kProtocol, Code::kUnavailable};
}

}  // namespace

bool IsRedirect(const Response& response) {
  const int status = response.status;
  return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
         !response.header("Location").empty();
}

Transfer::Transfer(CURLM* multi, CURL* easy, const Request& request, const Url& url,
                   const TransferShared& shared, ResponseSink& sink)
    : multi_(multi),
      easy_(easy),
      request_(request),
      url_(url),
      options_(shared.options),
      ca_bundles_(shared.ca_bundles),
      sink_(sink) {
  response_.url = request.url;
}

Transfer::~Transfer() {
  // Removing an unfinished transfer closes its connection.
  if (added_) curl_multi_remove_handle(multi_, easy_);
  curl_easy_reset(easy_);
  curl_slist_free_all(headers_);
}

void Transfer::Fail(Failure failure, Error error) {
  if (error_) return;
  failure_ = failure;
  error_ = std::move(error);
}

Status Transfer::ConfigureTls() {
  const TlsOptions& tls = request_.tls;
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  curl_easy_setopt(easy_, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  // Without a CA folder curl keeps the parsed bundle.
  curl_easy_setopt(easy_, CURLOPT_CAPATH, nullptr);
  if (tls.ca_files.empty()) {
    curl_easy_setopt(easy_, CURLOPT_CAINFO, options_.ca_bundle.c_str());
  } else {
    TRY_ASSIGN(ca_blob_, ca_bundles_.Get(options_.ca_bundle, tls.ca_files));
    // Lives as long as the transfer: curl does not copy it, and only reads.
    curl_blob blob{const_cast<char*>(ca_blob_->data()), ca_blob_->size(), CURL_BLOB_NOCOPY};
    curl_easy_setopt(easy_, CURLOPT_CAINFO_BLOB, &blob);
  }
  if (tls.client) {
    curl_easy_setopt(easy_, CURLOPT_SSLCERT, tls.client->certificate_file.c_str());
    curl_easy_setopt(easy_, CURLOPT_SSLKEY, tls.client->key_file.c_str());
  }
  return OkStatus();
}

void Transfer::ConfigureBody() {
  if (request_.method == "HEAD") {
    curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
  } else if (request_.body != nullptr) {
    curl_easy_setopt(easy_, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
    curl_easy_setopt(easy_, CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
    if (const auto size = request_.body->size()) {
      curl_easy_setopt(easy_, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(*size));
    }
  } else if (request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH") {
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE, 0L);
    curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  } else {
    curl_easy_setopt(easy_, CURLOPT_HTTPGET, 1L);
    if (request_.method != "GET") {
      curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
    }
  }
}

Status Transfer::Configure() {
  for (const Header& header : request_.headers) {
    if ((header.name + header.value).find_first_of(std::string_view("\r\n\0", 3)) !=
        std::string::npos) {
      return InvalidArgument("header {} holds a line break", Quoted(header.name));
    }
    // "Name;" is curl's way to send an empty header.
    const std::string line =
        header.value.empty() ? header.name + ";" : header.name + ": " + header.value;
    headers_ = curl_slist_append(headers_, line.c_str());
  }
  // No waiting for "100 Continue", no form content type.
  headers_ = curl_slist_append(headers_, "Expect:");
  if (FindHeader(request_.headers, "Content-Type").empty()) {
    headers_ = curl_slist_append(headers_, "Content-Type:");
  }
  const std::string proxy = request_.unix_socket.empty() ? options_.proxies.For(url_) : "";
  curl_easy_setopt(easy_, CURLOPT_URL, request_.url.c_str());
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy_, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy_, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_);
  curl_easy_setopt(easy_, CURLOPT_USERAGENT, options_.user_agent.c_str());
  // Set even if empty: keeps curl from reading the environment itself.
  curl_easy_setopt(easy_, CURLOPT_PROXY, proxy.c_str());
  if (!request_.unix_socket.empty())
    curl_easy_setopt(easy_, CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
  curl_easy_setopt(easy_, CURLOPT_NOPROXY, "");
  curl_easy_setopt(easy_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(request_.connect_timeout.count()));
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, message_);
  curl_easy_setopt(easy_, CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  curl_easy_setopt(easy_, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &Transfer::OnWrite);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_READFUNCTION, &Transfer::OnRead);
  curl_easy_setopt(easy_, CURLOPT_READDATA, this);
  curl_easy_setopt(easy_, CURLOPT_SEEKFUNCTION, &Transfer::OnSeek);
  curl_easy_setopt(easy_, CURLOPT_SEEKDATA, this);
  ConfigureBody();
  return ConfigureTls();
}

size_t Transfer::OnHeader(char* data, size_t size, size_t count, void* self) {
  return static_cast<Transfer*>(self)->TakeHeader({data, size * count});
}

bool IsFolded(std::string_view header_line) {
  return header_line.starts_with(' ') || header_line.starts_with('\t');
}

size_t Transfer::TakeHeader(std::string_view line) {
  Touch(line.size());
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHeaderBytes) {
    Fail(Failure::kProtocol,
         ResourceExhausted("response headers are longer than {} bytes", kMaxHeaderBytes));
    return 0;
  }
  if (IsFolded(line)) {
    Fail(Failure::kProtocol, Unavailable("a response header goes on in the next line"));
    return 0;
  }
  // A trailer says nothing that matters, and the headers have been acted upon.
  if (delivered_) return line.size();
  if (line.starts_with("HTTP/")) {
    // A new response: what came before was interim (100 Continue).
    response_.headers.clear();
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
    return line.size();
  }
  if (const auto parts = Cut(line, ":")) {
    response_.headers.push_back(
        {std::string(Trim(parts->first)), std::string(Trim(parts->second))});
  }
  return line.size();
}

Status Transfer::DeliverHeaders() {
  if (std::exchange(delivered_, true)) return OkStatus();
  if (IsRedirect(response_) && request_.max_redirects > 0) return OkStatus();
  return sink_.OnHeaders(response_);
}

size_t Transfer::OnWrite(char* data, size_t size, size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const TimePoint begin = steady_clock::now();
  Status status = transfer.DeliverHeaders();
  // The body of a redirect that is followed is nobody's.
  const bool drop = IsRedirect(transfer.response_) && transfer.request_.max_redirects > 0;
  if (drop && (transfer.dropped_bytes_ += size * count) > kMaxDroppedBytes) {
    transfer.Fail(Failure::kProtocol,
                  ResourceExhausted("redirect's body is longer than {} bytes", kMaxDroppedBytes));
    return 0;
  }
  if (status.ok() && !drop) status = transfer.sink_.OnData({data, size * count});
  transfer.NotCounted(begin);
  transfer.Touch(size * count);
  if (status.ok()) return size * count;
  transfer.Fail(Failure::kCaller, std::move(status).error());
  return 0;
}

size_t Transfer::OnRead(char* data, size_t size, size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const TimePoint begin = steady_clock::now();
  auto read = transfer.request_.body->Read(data, size * count);
  transfer.NotCounted(begin);
  transfer.Touch(read.ok() ? *read : 0);
  if (read.ok()) {
    transfer.sent_bytes_ += static_cast<int64_t>(*read);
    const auto total = transfer.request_.body->size();
    if (*read > 0 || !total || transfer.sent_bytes_ >= *total) return *read;
    // curl would wait for the rest, and so would the peer.
    read = DataLoss("body ended after {} of {} bytes", transfer.sent_bytes_, *total);
  }
  transfer.Fail(Failure::kCaller, std::move(read).error());
  return CURL_READFUNC_ABORT;
}

int Transfer::OnSeek(void* self, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<Transfer*>(self);
  if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  const Status status = transfer.request_.body->Rewind();
  transfer.sent_bytes_ = 0;
  if (status.ok()) return CURL_SEEKFUNC_OK;
  transfer.Fail(Failure::kCaller, status.error());
  return CURL_SEEKFUNC_FAIL;
}

Status Transfer::CheckTime() const {
  TRY(request_.cancel.Check());
  if (request_.deadline && steady_clock::now() >= *request_.deadline) {
    return DeadlineExceeded("context deadline exceeded");
  }
  return OkStatus();
}

int Transfer::PollMilliseconds() const {
  const auto now = steady_clock::now();
  auto until = last_activity_ + stall_timeout();
  if (request_.deadline) {
    until = std::min(until, time_point_cast<steady_clock::duration>(*request_.deadline));
  }
  const auto left = duration_cast<milliseconds>(until - now).count() + 1;
  return static_cast<int>(std::clamp<int64_t>(left, 1, 60'000));
}

Status Transfer::Conclude(CURLcode code) {
  if (error_) return *error_;
  if (code == CURLE_OK) {
    const Status status = DeliverHeaders();
    if (!status.ok()) failure_ = Failure::kCaller;
    return status;
  }
  const FailureRow row = RowOf(code);
  failure_ = row.failure;
  const std::string text = message_[0] != '\0' ? message_ : curl_easy_strerror(code);
  return Error(row.code, text);
}

void Transfer::Touch(size_t bytes) {
  last_activity_ = steady_clock::now();
  if ((slow_bytes_ += bytes) < kSlowBytes) return;
  slow_since_ = last_activity_;
  slow_bytes_ = 0;
}

Status Transfer::CheckPace() {
  const TimePoint now = steady_clock::now();
  if (now - last_activity_ > stall_timeout()) {
    return Unavailable("no data for {} ms", stall_timeout().count());
  }
  const milliseconds most = kSlowFactor * stall_timeout();
  if (request_.is_document && now - begin_ > most) {
    return Unavailable("no whole answer in {} ms", most.count());
  }
  if (now - slow_since_ <= most) return OkStatus();
  return Unavailable("{} bytes in {} ms: too slow", slow_bytes_, most.count());
}

Status Transfer::Drive() {
  Touch(kSlowBytes);
  begin_ = last_activity_;
  if (curl_multi_add_handle(multi_, easy_) != CURLM_OK) return Internal("curl refused the request");
  added_ = true;
  CURLM* multi = multi_;
  const auto wake = request_.cancel.OnCancel([multi] { curl_multi_wakeup(multi); });
  while (true) {
    int running = 0;
    if (const CURLMcode code = curl_multi_perform(multi_, &running); code != CURLM_OK) {
      return Internal("{}", curl_multi_strerror(code));
    }
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg == CURLMSG_DONE) return Conclude(message->data.result);
    }
    if (Status status = CheckTime(); !status.ok()) {
      failure_ = Failure::kStopped;
      return status;
    }
    if (Status status = CheckPace(); !status.ok()) {
      failure_ = Failure::kTimeout;
      return status;
    }
    curl_multi_poll(multi_, nullptr, 0, PollMilliseconds(), nullptr);
  }
}

Result<Response> Transfer::Run(Failure& failure) {
  Status status = CheckTime();
  if (!status.ok()) {
    failure_ = Failure::kStopped;
  } else {
    status = Configure();
    if (!status.ok()) failure_ = Failure::kRequest;
  }
  if (status.ok()) status = Drive();
  if (!status.ok()) {
    failure = failure_ == Failure::kNone ? Failure::kRequest : failure_;
    return std::move(status).error();
  }
  return std::move(response_);
}

}  // namespace kiln::http
