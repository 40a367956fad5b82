#pragma once

// Inside http only.

#include <curl/curl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/ca_bundles.h"
#include "http/client.h"
#include "http/slot.h"
#include "http/url.h"

namespace kiln::http {

// A transfer may take this many times the stall timeout for a kilobyte.
inline constexpr int kSlowFactor = 10;

// What all transfers of a client share.
struct TransferShared {
  const ClientOptions& options;
  CaBundles& ca_bundles;
};

// Whether a header line continues the one before (RFC 9112, 5.2: obsolete, to be refused).
bool IsFolded(std::string_view header_line);

// One exchange on one connection: no redirects, no retries.
class Transfer {
 public:
  Transfer(CURLM* multi, CURL* easy, const Request& request, const Url& url,
           const TransferShared& shared, ResponseSink& sink);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Sets `failure` when it returns an error.
  Result<Response> Run(Failure& failure);

 private:
  Status Configure();
  Status ConfigureTls();
  void ConfigureBody();
  Status Drive();
  Status CheckTime() const;
  int PollMilliseconds() const;
  Status Conclude(CURLcode code);
  Status DeliverHeaders();

  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnWrite(char* data, size_t size, size_t count, void* self);
  static size_t OnRead(char* data, size_t size, size_t count, void* self);
  static int OnSeek(void* self, curl_off_t offset, int origin);

  size_t TakeHeader(std::string_view line);
  void Fail(Failure failure, Error error);
  using TimePoint = std::chrono::steady_clock::time_point;
  std::chrono::milliseconds stall_timeout() const {
    return request_.stall_timeout.value_or(options_.stall_timeout);
  }
  // So many bytes went either way.
  void Touch(size_t bytes);
  // Time since then was the caller's, in sink or source.
  void NotCounted(TimePoint since) { slow_since_ += std::chrono::steady_clock::now() - since; }
  // An error if the peer is silent, or as good as that.
  Status CheckPace();

  CURLM* multi_;
  CURL* easy_;
  const Request& request_;
  const Url& url_;
  const ClientOptions& options_;
  CaBundles& ca_bundles_;
  ResponseSink& sink_;

  Response response_;
  curl_slist* headers_ = nullptr;
  std::shared_ptr<const std::string> ca_blob_;
  size_t header_bytes_ = 0;
  size_t dropped_bytes_ = 0;
  int64_t sent_bytes_ = 0;
  bool delivered_ = false;
  bool added_ = false;
  TimePoint last_activity_;
  TimePoint begin_;
  TimePoint slow_since_;
  size_t slow_bytes_ = 0;  // since then
  Failure failure_ = Failure::kNone;
  std::optional<Error> error_;
  char message_[CURL_ERROR_SIZE] = {};
};

// What counts as a redirect that is followed.
bool IsRedirect(const Response& response);

}  // namespace kiln::http
