#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "http/message.h"

namespace kiln::http {

// What the fake server received.
struct ReceivedRequest {
  std::string method;
  std::string path;   // without query
  std::string query;  // without "?"
  Headers headers;
  std::string body;

  std::string header(std::string_view name) const { return std::string(FindHeader(headers, name)); }
};

// What it answers; may lie.
struct Reply {
  int status = 200;
  Headers headers;
  std::string body;
  // Says this in Content-Length instead of the body's size.
  std::optional<int64_t> claimed_length;
  // Sends the body a byte at a time, with such pauses.
  std::chrono::milliseconds drip{0};
  // Sends only so many bytes of the body, then closes.
  std::optional<size_t> cut_after;
  // Closes without any answer.
  bool hang_up = false;
  // Sent as it is instead of everything else; then the connection is closed.
  std::string raw;
};

// An HTTP/1.1 server on a free loopback port, one thread per connection, for tests of anything that
// speaks HTTP. The handler is called from those threads.
class FakeServer {
 public:
  using Handler = std::function<Reply(const ReceivedRequest&)>;
  explicit FakeServer(Handler handler);
  // Closes all connections and joins.
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  int port() const { return port_; }
  // "127.0.0.1:port".
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url(const std::string& path = "/") const { return "http://" + host() + path; }
  // Everything received so far.
  std::vector<ReceivedRequest> received() const;
  // As if nothing had been received.
  void Forget();
  int connections() const { return connections_; }
  // How often a request with that "METHOD path" came.
  int Count(const std::string& method_and_path) const;

 private:
  struct Connection {
    Fd fd;
    std::thread thread;
    std::shared_ptr<const std::atomic<bool>> ended;
  };
  void Accept();
  void Serve(int fd);

  Handler handler_;
  Fd listener_;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::vector<ReceivedRequest> received_;
  std::list<Connection> open_;
  std::thread acceptor_;
};

}  // namespace kiln::http
