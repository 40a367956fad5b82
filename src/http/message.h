#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/result.h"
#include "base/time.h"

namespace kiln::http {

struct Header {
  std::string name;
  std::string value;
};
using Headers = std::vector<Header>;

// The first header of that name, letter case ignored; "" if there is none.
std::string_view FindHeader(const Headers& headers, std::string_view name);
// All values of that name, in order.
std::vector<std::string_view> FindHeaders(const Headers& headers, std::string_view name);
void SetHeader(Headers& headers, std::string_view name, std::string value);
void RemoveHeader(Headers& headers, std::string_view name);

// A date as HTTP writes it (Last-Modified, Date); nothing if it is none.
std::optional<WallTime> ParseHttpDate(std::string_view text);

// A body that is read while it is sent. Used by one request at a time, on the thread that sends.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // At most `size` bytes; 0 at the end. May block.
  virtual Result<size_t> Read(char* buffer, size_t size) = 0;
  // Starts again from the first byte, for a retry or redirect.
  virtual Status Rewind() = 0;
  // Bytes in all; nothing if unknown, then the body is sent chunked.
  virtual std::optional<int64_t> size() const = 0;
};

// A body in memory. `text` must outlive it.
class StringSource final : public BodySource {
 public:
  explicit StringSource(std::string_view text) : text_(text) {}
  Result<size_t> Read(char* buffer, size_t size) override;
  Status Rewind() override;
  std::optional<int64_t> size() const override { return static_cast<int64_t>(text_.size()); }

 private:
  std::string_view text_;
  size_t position_ = 0;
};

struct KeyPair {
  std::string certificate_file;  // PEM
  std::string key_file;          // PEM
  friend bool operator==(const KeyPair&, const KeyPair&) = default;
};

struct TlsOptions {
  bool verify = true;
  // PEM files whose certificates are trusted besides the system's.
  std::vector<std::string> ca_files;
  std::optional<KeyPair> client;
  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

struct Request {
  std::string method = "GET";
  std::string url;
  Headers headers;
  // Not owned; must live until the call returns. Null: no body.
  BodySource* body = nullptr;
  // Path of a socket to connect to in place of the URL's host; "" for none.
  std::string unix_socket;
  TlsOptions tls;
  CancelToken cancel;
  std::optional<SteadyTime> deadline;
  std::chrono::milliseconds connect_timeout{30'000};
  // No byte either way for so long (time spent in sink and source not counted) ends the request;
  // nothing: as the client's options say.
  std::optional<std::chrono::milliseconds> stall_timeout;
  // What is asked for is small: an answer that is not whole in ten times the stall timeout is given
  // up, however steadily it drips. Client::Send sets it for requests without a body.
  bool is_document = false;
  // 0: a redirect is the answer.
  int max_redirects = 10;
};

struct Response {
  int status = 0;
  Headers headers;
  // The URL that answered, after redirects.
  std::string url;
  // Filled by Client::Send only.
  std::string body;

  bool ok() const { return status >= 200 && status < 300; }
  std::string_view header(std::string_view name) const { return FindHeader(headers, name); }
  // Content-Length, if there is a valid one.
  std::optional<int64_t> content_length() const;
};

// Why there is no response.
enum class Failure {
  kNone,
  kRequest,    // cannot be sent as given
  kResolve,    // no such host
  kConnect,    // refused, unreachable
  kTimeout,    // connecting, handshake or stalled
  kTls,        // handshake or certificate
  kBroken,     // connection ended early
  kProtocol,   // not HTTP, headers too long, too many redirects
  kBodyLimit,  // longer than the caller allows
  kStopped,    // cancelled or past the deadline
  kCaller,     // the caller's sink or source failed
};

}  // namespace kiln::http
