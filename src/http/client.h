#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/result.h"
#include "http/ca_bundles.h"
#include "http/message.h"
#include "http/proxy.h"

namespace kiln::http {

// libcurl's process-wide initialisation. main makes one and keeps it while clients live.
class Library {
 public:
  Library();
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

inline constexpr std::chrono::milliseconds kStallTimeout{120'000};

struct ClientOptions {
  std::string user_agent = "kiln";
  ProxySettings proxies;
  // PEM bundle of trusted roots; "" means the first one that is found of the usual places.
  std::string ca_bundle;
  size_t max_idle_connections = 32;
  // For requests that name none. A peer that sends no kilobyte in ten times that is given up, too.
  std::chrono::milliseconds stall_timeout = kStallTimeout;
};

// Takes a response as it arrives, on the thread that called Stream.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // Status and headers are complete; not called for redirects that are followed. An error ends the
  // request.
  virtual Status OnHeaders(const Response& response) = 0;
  // A piece of the body. May block: the peer then waits.
  virtual Status OnData(std::string_view data) = 0;
};

// Sends requests on the calling thread and blocks until they are done. Safe from any number of
// threads. A response with any status is a success here; only its absence is an error, with codes
// Unavailable (network), DeadlineExceeded, Cancelled, FailedPrecondition (certificates),
// ResourceExhausted (limits) or what sink and source gave.
class Client {
 public:
  Client(const Library& library, ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The whole answer; a body of more than `body_limit` bytes is an error.
  Result<Response> Send(const Request& request, size_t body_limit = size_t{1} << 20,
                        Failure* failure = nullptr);
  // The body goes to `sink`; the answer's own body is empty.
  Result<Response> Stream(const Request& request, ResponseSink& sink, Failure* failure = nullptr);

  class Slot;  // inside http only

 private:
  friend class Transfer;

  std::unique_ptr<Slot> Acquire(const std::string& key) EXCLUDES(mutex_);
  void Release(std::unique_ptr<Slot> slot) EXCLUDES(mutex_);
  Result<Response> Once(const Request& request, ResponseSink& sink, Failure& failure);

  const ClientOptions options_;
  CaBundles ca_bundles_;
  Mutex mutex_;
  // Most recently used last.
  std::list<std::unique_ptr<Slot>> idle_ GUARDED_BY(mutex_);
};

}  // namespace kiln::http
