#pragma once

// Inside http only.

#include <curl/curl.h>

#include <optional>
#include <string>

#include "http/client.h"
#include "http/slot.h"
#include "http/url.h"

namespace kiln::http {

// One exchange on one connection: no redirects, no retries.
class Transfer {
 public:
  Transfer(CURLM* multi, CURL* easy, const Request& request, const Url& url,
           const ClientOptions& options, ResponseSink& sink);
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
  void Touch() { last_activity_ = std::chrono::steady_clock::now(); }

  CURLM* multi_;
  CURL* easy_;
  const Request& request_;
  const Url& url_;
  const ClientOptions& options_;
  ResponseSink& sink_;

  Response response_;
  curl_slist* headers_ = nullptr;
  std::string ca_blob_;
  size_t header_bytes_ = 0;
  size_t dropped_bytes_ = 0;
  int64_t sent_bytes_ = 0;
  bool delivered_ = false;
  bool added_ = false;
  std::chrono::steady_clock::time_point last_activity_;
  Failure failure_ = Failure::kNone;
  std::optional<Error> error_;
  char message_[CURL_ERROR_SIZE] = {};
};

// What counts as a redirect that is followed.
bool IsRedirect(const Response& response);

}  // namespace kiln::http
