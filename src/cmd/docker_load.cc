#include "cmd/docker_load.h"

#include <cstring>
#include <thread>

#include "base/mutex.h"
#include "base/thread.h"
#include "http/client.h"

namespace kiln::cmd {
namespace {

// The engine tells how far it is with unpacking; silent for so long, it is stuck.
constexpr std::chrono::minutes kLoadStall{15};
constexpr std::chrono::seconds kPingTimeout{10};

// One thread writes, the one that sends reads: a piece at a time.
class Handover final : public http::BodySource {
 public:
  Status Put(std::string_view data) {
    MutexLock lock(mutex_);
    while (!piece_.empty() && !closed_) changed_.Wait(lock);
    if (closed_) return Unavailable("the Docker engine stopped reading the image");
    piece_ = data;
    changed_.NotifyAll();
    return OkStatus();
  }
  void End(bool whole) {
    MutexLock lock(mutex_);
    ended_ = true;
    whole_ = whole;
    changed_.NotifyAll();
  }
  // Nobody reads any more.
  void Close() {
    MutexLock lock(mutex_);
    closed_ = true;
    changed_.NotifyAll();
  }

  Result<size_t> Read(char* buffer, size_t size) override {
    MutexLock lock(mutex_);
    while (piece_.empty() && !ended_) changed_.Wait(lock);
    if (ended_ && !whole_) return Cancelled("context canceled");
    const size_t count = std::min(size, piece_.size() - at_);
    std::memcpy(buffer, piece_.data() + at_, count);
    at_ += count;
    if (at_ == piece_.size()) {
      piece_.clear();
      at_ = 0;
      changed_.NotifyAll();
    }
    return count;
  }
  Status Rewind() override { return FailedPrecondition("the image is sent once only"); }
  std::optional<int64_t> size() const override { return std::nullopt; }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::string piece_ GUARDED_BY(mutex_);
  size_t at_ GUARDED_BY(mutex_) = 0;
  bool ended_ GUARDED_BY(mutex_) = false;
  bool whole_ GUARDED_BY(mutex_) = false;
  bool closed_ GUARDED_BY(mutex_) = false;
};

class HttpDockerLoad final : public DockerLoad {
 public:
  explicit HttpDockerLoad(DockerEndpoint endpoint)
      : endpoint_(std::move(endpoint)), client_(library_, {}) {}
  ~HttpDockerLoad() override {
    body_.End(false);
    if (sender_.joinable()) sender_.join();
  }

  Status Check(const CancelToken& cancel) override {
    cancel_ = cancel;
    http::Request request = RequestTo("GET", "/_ping");
    request.cancel = cancel;
    request.deadline = std::chrono::steady_clock::now() + kPingTimeout;
    const auto response = client_.Send(request);
    if (response.ok() && response->ok()) return OkStatus();
    return Unavailable(
        "--load: no Docker engine at {}: {}; set DOCKER_HOST, or write an archive with -o "
        "type=docker,dest=image.tar",
        endpoint_.host,
        response.ok() ? fmt::format("status {}", response->status) : response.error().ToString());
  }

  Status Write(std::string_view data) override {
    if (data.empty()) return OkStatus();
    if (!sender_.joinable()) {
      TRY_ASSIGN(sender_, StartThread("kiln-load", [this] { Send(); }));
    }
    if (Status put = body_.Put(data); !put.ok()) {
      TRY(outcome());
      return put;
    }
    return OkStatus();
  }

  Status Finish() override {
    if (!sender_.joinable()) return DataLoss("the daemon sent no image");
    body_.End(true);
    sender_.join();
    return outcome();
  }

 private:
  http::Request RequestTo(const char* method, const std::string& path) const {
    http::Request request;
    request.method = method;
    request.url = endpoint_.url + path;
    request.unix_socket = endpoint_.unix_socket;
    request.tls = endpoint_.tls;
    request.max_redirects = 0;
    return request;
  }

  void Send() {
    http::Request request = RequestTo("POST", "/images/load?quiet=0");
    http::SetHeader(request.headers, "Content-Type", "application/x-tar");
    request.body = &body_;
    request.cancel = cancel_;
    request.stall_timeout = kLoadStall;
    const auto response = client_.Send(request, size_t{16} << 20);
    {
      MutexLock lock(mutex_);
      outcome_ = response.ok() ? LoadOutcome(*response, endpoint_.host) : response.error();
    }
    body_.Close();
  }

  Status outcome() const {
    MutexLock lock(mutex_);
    return outcome_;
  }

  const DockerEndpoint endpoint_;
  http::Library library_;
  http::Client client_;
  CancelToken cancel_;  // set before anything is sent
  Handover body_;
  mutable Mutex mutex_;
  Status outcome_ GUARDED_BY(mutex_);
  std::thread sender_;
};

}  // namespace

std::shared_ptr<DockerLoad> MakeDockerLoad(DockerEndpoint endpoint) {
  return std::make_shared<HttpDockerLoad>(std::move(endpoint));
}

}  // namespace kiln::cmd
