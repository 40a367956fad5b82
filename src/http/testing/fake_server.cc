#include "http/testing/fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"

namespace kiln::http {
namespace {

bool SendAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

// Reads from a socket with a little buffer.
class Reader {
 public:
  explicit Reader(int fd) : fd_(fd) {}

  bool Fill() {
    char chunk[65536];
    const ssize_t count = recv(fd_, chunk, sizeof chunk, 0);
    if (count <= 0) return false;
    buffer_.append(chunk, static_cast<size_t>(count));
    return true;
  }

  bool Line(std::string& line) {
    size_t end = 0;
    while ((end = buffer_.find("\r\n")) == std::string::npos) {
      if (!Fill()) return false;
    }
    line = buffer_.substr(0, end);
    buffer_.erase(0, end + 2);
    return true;
  }

  bool Bytes(size_t count, std::string& out) {
    while (buffer_.size() < count) {
      if (!Fill()) return false;
    }
    out += buffer_.substr(0, count);
    buffer_.erase(0, count);
    return true;
  }

 private:
  int fd_;
  std::string buffer_;
};

bool ReadBody(Reader& reader, ReceivedRequest& request) {
  if (request.header("Transfer-Encoding") == "chunked") {
    while (true) {
      std::string line;
      if (!reader.Line(line)) return false;
      const auto size = ParseUint(line, 16);
      if (!size) return false;
      if (!reader.Bytes(*size, request.body) || !reader.Line(line)) return false;
      if (*size == 0) return true;
    }
  }
  const auto length = ParseUint(request.header("Content-Length"));
  return !length || reader.Bytes(*length, request.body);
}

bool ReadRequest(Reader& reader, ReceivedRequest& request) {
  std::string line;
  if (!reader.Line(line)) return false;
  const auto words = Split(line, ' ');
  if (words.size() != 3) return false;
  request.method = words[0];
  const auto target = Cut(words[1], "?");
  request.path = target ? target->first : words[1];
  request.query = target ? target->second : std::string_view();
  while (reader.Line(line)) {
    if (line.empty()) return ReadBody(reader, request);
    const auto parts = Cut(line, ":");
    if (!parts) return false;
    request.headers.push_back({std::string(Trim(parts->first)), std::string(Trim(parts->second))});
  }
  return false;
}

// False when the connection must be closed.
bool SendReply(int fd, const ReceivedRequest& request, const Reply& reply) {
  if (reply.hang_up) return false;
  if (!reply.raw.empty()) {
    SendAll(fd, reply.raw);
    return false;
  }
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " X\r\n";
  for (const Header& header : reply.headers) head += header.name + ": " + header.value + "\r\n";
  if (FindHeader(reply.headers, "Content-Length").empty() && reply.status != 204) {
    const auto length = reply.claimed_length.value_or(static_cast<int64_t>(reply.body.size()));
    head += "Content-Length: " + std::to_string(length) + "\r\n";
  }
  head += "\r\n";
  if (request.method == "HEAD") return SendAll(fd, head);
  // In one piece, or the peer's delayed acknowledgement costs 40 ms.
  if (reply.cut_after) {
    SendAll(fd, head + reply.body.substr(0, *reply.cut_after));
    return false;
  }
  if (reply.drip.count() == 0) return SendAll(fd, head + reply.body);
  if (!SendAll(fd, head)) return false;
  for (const char& byte : reply.body) {
    std::this_thread::sleep_for(reply.drip);
    if (!SendAll(fd, {&byte, 1})) return false;
  }
  return true;
}

}  // namespace

FakeServer::FakeServer(Handler handler)
    : handler_(std::move(handler)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(listen(listener_.get(), 64) == 0);
  CHECK(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

FakeServer::~FakeServer() {
  stopping_ = true;
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  for (Connection& connection : open_) shutdown(connection.fd.get(), SHUT_RDWR);
  for (Connection& connection : open_) connection.thread.join();
}

void FakeServer::Accept() {
  while (!stopping_) {
    Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) return;
    ++connections_;
    const int raw = fd.get();
    const std::lock_guard lock(mutex_);
    // Of those that have ended neither thread nor descriptor is kept.
    std::erase_if(open_, [](Connection& connection) {
      if (!*connection.ended) return false;
      connection.thread.join();
      return true;
    });
    auto ended = std::make_shared<std::atomic<bool>>(false);
    open_.push_back({std::move(fd), std::thread([this, raw, ended] {
                       Serve(raw);
                       *ended = true;
                     }),
                     ended});
  }
}

void FakeServer::Serve(int fd) {
  Reader reader(fd);
  while (true) {
    ReceivedRequest request;
    if (!ReadRequest(reader, request)) break;
    {
      const std::lock_guard lock(mutex_);
      received_.push_back(request);
    }
    if (!SendReply(fd, request, handler_(request))) break;
  }
  shutdown(fd, SHUT_RDWR);
}

void FakeServer::Forget() {
  const std::lock_guard lock(mutex_);
  received_.clear();
}

std::vector<ReceivedRequest> FakeServer::received() const {
  const std::lock_guard lock(mutex_);
  return received_;
}

int FakeServer::Count(const std::string& method_and_path) const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(std::count_if(
      received_.begin(), received_.end(),
      [&](const auto& request) { return request.method + " " + request.path == method_and_path; }));
}

}  // namespace kiln::http
