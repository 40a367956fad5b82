#include <fcntl.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <moby/buildkit/secrets/v1/secrets.grpc.pb.h>
#include <moby/buildkit/v1/control.grpc.pb.h>
#include <moby/filesync/v1/filesync.grpc.pb.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/ids.h"
#include "filesync/receiver.h"
#include "filesync/sender.h"
#include "rpc/metadata.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "rpc/tunnel.h"
#include "session/client_words.h"
#include "session/files.h"
#include "session/secrets.h"
#include "session/tunnel.h"

namespace kiln::session {
namespace {

namespace fs = std::filesystem;
using moby::buildkit::v1::BytesMessage;
using moby::buildkit::v1::Control;

// A hand-wound queue to which gRPC's threads may post.
class Timers final : public TaskQueue {
 public:
  void Post(std::function<void()> task) override {
    MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  uint64_t PostAfter(nanoseconds, std::function<void()> task) override {
    MutexLock lock(mutex_);
    waiting_.push_back(std::move(task));
    return 1;
  }
  void CancelTimer(uint64_t) override {}

  void FireAll() {
    MutexLock lock(mutex_);
    std::move(waiting_.begin(), waiting_.end(), std::back_inserter(tasks_));
    waiting_.clear();
  }
  bool RunOne() {
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      if (tasks_.empty()) return false;
      task = std::move(tasks_.front());
      tasks_.erase(tasks_.begin());
    }
    task();
    return true;
  }
  size_t waiting() {
    MutexLock lock(mutex_);
    return waiting_.size();
  }

 private:
  Mutex mutex_;
  std::vector<std::function<void()>> tasks_ GUARDED_BY(mutex_);
  std::vector<std::function<void()>> waiting_ GUARDED_BY(mutex_);
};

class SessionService final : public Control::CallbackService {
 public:
  SessionService(Manager& manager, rpc::Poller& poller) : manager_(manager), poller_(poller) {}
  grpc::ServerBidiReactor<BytesMessage, BytesMessage>* Session(
      grpc::CallbackServerContext* context) override {
    return ServeSession(manager_, poller_, context);
  }

 private:
  Manager& manager_;
  rpc::Poller& poller_;
};

class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest*,
                                  grpc::health::v1::HealthCheckResponse*) override {
    ++checks;
    auto* reactor = context->DefaultReactor();
    reactor->Finish(healthy ? grpc::Status::OK : grpc::Status(grpc::UNAVAILABLE, "sick"));
    return reactor;
  }
  std::atomic<int> checks = 0;
  std::atomic<bool> healthy = true;
};

class SecretsService final : public moby::buildkit::secrets::v1::Secrets::Service {
  grpc::Status GetSecret(grpc::ServerContext*,
                         const moby::buildkit::secrets::v1::GetSecretRequest* request,
                         moby::buildkit::secrets::v1::GetSecretResponse* response) override {
    if (request->id() != "known") return {grpc::NOT_FOUND, "no such secret"};
    response->set_data("hush");
    return grpc::Status::OK;
  }
};

// Takes what is sent to exporter 1; answers AlreadyExists after the first message to exporter 2.
class OutputService final : public moby::filesync::v1::FileSend::Service {
 public:
  grpc::Status DiffCopy(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<moby::filesync::v1::BytesMessage, moby::filesync::v1::BytesMessage>*
          stream) override {
    const auto id = rpc::MetadataValue(context->client_metadata(), rpc::kExporterIdKey);
    name = rpc::MetadataValue(context->client_metadata(), "exporter-md-image.name").value_or("");
    moby::filesync::v1::BytesMessage message;
    while (stream->Read(&message)) {
      if (id == "2") return {grpc::ALREADY_EXISTS, "have it"};
      received += message.data();
    }
    return id == "3" ? grpc::Status(grpc::INTERNAL, "disk full") : grpc::Status::OK;
  }
  std::string received;
  std::string name;
};

// A daemon's half and a client's half in one process, with a real tunnel between them.
class SessionTest : public testing::Test {
 protected:
  SessionTest() {
    daemon_ = rpc::Server::Start({&service_}, poller_).value();
    client_ = rpc::Server::Start({&health_, &secrets_, &outputs_}, poller_).value();
    activity_.sessions =
        std::make_shared<progress::FixedSessions>(std::vector<std::string>{"the-id"});
  }
  ~SessionTest() override { Close(); }

  void Open() {
    context_.AddMetadata(rpc::kSessionIdKey, "the-id");
    context_.AddMetadata(rpc::kSessionSharedKey, "folder:node");
    for (const char* method :
         {"/grpc.health.v1.Health/Check", "/moby.filesync.v1.FileSend/DiffCopy"}) {
      context_.AddMetadata(rpc::kSessionMethodKey, method);
    }
    stream_ = Control::NewStub(daemon_->InProcessChannel().value())->Session(&context_);
    auto [ours, theirs] = SocketPair().value();
    tunnel_ = ours.Dup().value();
    ASSERT_TRUE(client_->Adopt(std::move(theirs)).ok());
    pump_ = std::thread([this, fd = std::move(ours)]() mutable {
      EXPECT_TRUE(rpc::PumpTunnel(*stream_, std::move(fd)).ok());
      ended_ = stream_->Finish();
    });
  }
  void Close() {
    client_->Shutdown(std::chrono::milliseconds(0));
    if (tunnel_) ::shutdown(tunnel_.get(), SHUT_RDWR);
    if (pump_.joinable()) pump_.join();
  }

  Timers timers_;
  rpc::Poller poller_;
  Manager manager_{timers_};
  SessionService service_{manager_, poller_};
  HealthService health_;
  SecretsService secrets_;
  OutputService outputs_;
  std::unique_ptr<rpc::Server> daemon_;
  std::unique_ptr<rpc::Server> client_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<BytesMessage, BytesMessage>> stream_;
  Fd tunnel_;  // our end, shared with the pump
  std::thread pump_;
  grpc::Status ended_;
  progress::Activity activity_;
};

TEST_F(SessionTest, LateSessionsAreWaitedForAndEndWithTheirClient) {
  std::thread late([this] { Open(); });
  const auto session = manager_.Get(activity_, "prefix:the-id");
  late.join();
  ASSERT_TRUE(session.ok()) << session.error().ToString();
  EXPECT_EQ((*session)->shared_key(), "folder:node");
  EXPECT_TRUE((*session)->Supports("/moby.filesync.v1.FileSend/diffcopy"));
  EXPECT_FALSE((*session)->Supports("/moby.filesync.v1.FileSync/DiffCopy"));
  Close();
  EXPECT_TRUE(ended_.ok());
  EXPECT_TRUE((*session)->closed().cancelled());
  EXPECT_EQ(manager_.Find("the-id"), nullptr);
  EXPECT_EQ(GetSecret(manager_, activity_.WithTimeout(std::chrono::milliseconds(10)), "known")
                .error()
                .code(),
            Code::kNotFound);
}

TEST_F(SessionTest, MissingSessionsAreNamed) {
  const auto session = manager_.Get(activity_, "absent", std::chrono::milliseconds(1));
  EXPECT_EQ(session.error().ToString(), "no active session for absent: context deadline exceeded");
  progress::Activity nobody;
  EXPECT_EQ(GetSecret(manager_, nobody, "x").error().ToString(), "secret x: not found");
}

TEST_F(SessionTest, SecretsComeFromTheClient) {
  Open();
  EXPECT_EQ(GetSecret(manager_, activity_, "known")->Reveal(), "hush");
  EXPECT_EQ(GetSecret(manager_, activity_, "other").error().ToString(), "secret other: not found");
}

TEST_F(SessionTest, BytesGoToTheClientInBoundedMessages) {
  Open();
  const SessionPtr session = manager_.Get(activity_, "the-id").value();
  const std::string data(10'000'000, 'x');
  auto stream = OpenFileStream(activity_, *session, 1, {{"image.name", "n"}}).value();
  ASSERT_TRUE(stream->Write(data).ok());
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(outputs_.received, data);
  EXPECT_EQ(outputs_.name, "n");
  auto known = OpenFileStream(activity_, *session, 2, {}).value();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(known->Write(data).ok());
  EXPECT_TRUE(known->Finish().ok());
  auto broken = OpenFileStream(activity_, *session, 3, {}).value();
  ASSERT_TRUE(broken->Write("x").ok());
  EXPECT_EQ(broken->Finish().error().ToString(), "disk full");
}

TEST_F(SessionTest, FoldersNeedSupport) {
  Open();
  EXPECT_EQ(FindTreeSession(manager_, activity_, "").error().ToString(),
            "no local sources enabled");
  EXPECT_EQ(FindTreeSession(manager_, progress::Activity(), "").error().ToString(),
            "could not access local files without session");
}

TEST(ClientWordsTest, TimesAreThoseThatCanBeCountedWith) {
  const auto interval = [](const char* ms) -> int64_t {
    const auto policy = HealthOf({{rpc::kSessionHealthKey, ms}});
    return policy.ok() ? policy->interval.count() : -1;
  };
  EXPECT_EQ(interval("2000"), 2000);
  EXPECT_EQ(interval("999"), -1);
  EXPECT_EQ(interval("x"), -1);
  EXPECT_EQ(interval("9223372036854775807"), 86'400'000);

  moby::filesync::v1::FetchTokenResponse response;
  response.set_expiresin(INT64_MAX);
  response.set_issuedat(INT64_MIN);
  const ClientToken token = TokenOf(response);
  EXPECT_EQ(token.expires_in, std::chrono::hours(365 * 24));
  EXPECT_LT(token.issued_at, WallTime());
}

TEST(ClientWordsTest, SharedKeysMayBeEncoded) {
  const auto key = [](const char* value, const char* encoded) {
    rpc::MetadataMap headers = {{rpc::kSessionSharedKey, value}};
    if (encoded != nullptr) headers.emplace("x-docker-expose-session-sharedkey-encoded", encoded);
    return InfoOf(headers).shared_key;
  };
  EXPECT_EQ(key("context%3A%E6%97%A9%3A%252B%2Bplain+x", "1"), "context:\u65e9:%2B+plain x");
  EXPECT_EQ(key("context:%2B+plain", nullptr), "context:%2B+plain");
  EXPECT_EQ(key("context:%2B+plain", "0"), "context:%2B+plain");
  EXPECT_EQ(key("100%", "1"), "100%");
  EXPECT_EQ(InfoOf({}).shared_key, "");
}

TEST_F(SessionTest, TwoFailedHealthChecksEndTheSession) {
  Open();
  const SessionPtr session = manager_.Get(activity_, "the-id").value();
  health_.healthy = false;
  // The session can be found a moment before its first check is set.
  while (timers_.waiting() == 0) std::this_thread::yield();
  for (int check = 1; check <= 2; ++check) {
    timers_.FireAll();
    // The answer comes from gRPC's threads and is dealt with on the queue.
    while (timers_.waiting() == 0 && !session->closed().cancelled()) {
      if (!timers_.RunOne()) std::this_thread::yield();
    }
  }
  EXPECT_TRUE(session->closed().WaitFor(std::chrono::seconds(10)));
}

}  // namespace
}  // namespace kiln::session
