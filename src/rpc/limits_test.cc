// What one connection may have open, and what becomes of peers that ping or are silent.
#include "rpc/limits.h"

#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <future>

#include "base/mutex.h"
#include "rpc/server.h"

namespace kiln::rpc {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// Answers a call when the test says so.
class HeldHealth final : public Health::CallbackService {
 public:
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context, const HealthCheckRequest*,
                                  HealthCheckResponse*) override {
    const MutexLock lock(mutex_);
    held_.push_back(context->DefaultReactor());
    most_ = std::max(most_, held_.size());
    changed_.NotifyAll();
    return held_.back();
  }

  // Once so many wait, answers the first of them.
  void AnswerOne(size_t waiting) {
    grpc::ServerUnaryReactor* first = nullptr;
    {
      MutexLock lock(mutex_);
      while (held_.size() < waiting) changed_.Wait(lock);
      first = held_.front();
      held_.pop_front();
    }
    first->Finish(grpc::Status::OK);
  }

  size_t most() const {
    const MutexLock lock(mutex_);
    return most_;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<grpc::ServerUnaryReactor*> held_ GUARDED_BY(mutex_);
  size_t most_ GUARDED_BY(mutex_) = 0;
};

// A call that is on its way.
struct HeldCall {
  explicit HeldCall(Health::Stub& stub) {
    stub.async()->Check(&context, &request, &response,
                        [this](const grpc::Status& status) { ended.set_value(status.ok()); });
  }
  grpc::ClientContext context;
  HealthCheckRequest request;
  HealthCheckResponse response;
  std::promise<bool> ended;
};

// An HTTP/2 peer that does only what it is told.
class PlainPeer {
 public:
  static constexpr char kSettings = 4, kPing = 6, kGoAway = 7;
  struct Frame {
    char type = 0;
    bool answer = false;
  };

  explicit PlainPeer(Fd socket) : socket_(std::move(socket)) {
    Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    Send(Header(0, kSettings));
  }
  void Ping() { Send(Header(8, kPing) + "12345678"); }

  // The next frame; none: the server has closed the connection.
  std::optional<Frame> Read() {
    const std::string header = ReadExactly(9);
    if (header.empty()) return std::nullopt;
    size_t size = 0;
    for (size_t i = 0; i < 3; ++i) size = size * 256 + static_cast<unsigned char>(header[i]);
    if (size > 0 && ReadExactly(size).empty()) return std::nullopt;
    return Frame{header[3], (header[4] & 1) != 0};
  }

 private:
  static std::string Header(char size, char type) {
    return std::string{0, 0, size, type, 0, 0, 0, 0, 0};
  }
  void Send(const std::string& bytes) { EXPECT_TRUE(WriteAll(socket_.get(), bytes).ok()); }
  std::string ReadExactly(size_t size) {
    std::string bytes(size, 0);
    for (size_t have = 0; have < size;) {
      const auto count = ReadSome(socket_.get(), bytes.data() + have, size - have);
      if (!count.ok() || *count == 0) return "";
      have += *count;
    }
    return bytes;
  }

  Fd socket_;
};

class LimitsTest : public testing::Test {
 protected:
  void Start(const Server::Options& options) {
    server_ = Server::Start({&health_}, poller_, options).value();
  }
  PlainPeer NewPeer() {
    auto ends = SocketPair().value();
    EXPECT_TRUE(server_->Adopt(std::move(ends.second)).ok());
    return PlainPeer(std::move(ends.first));
  }
  std::unique_ptr<Health::Stub> NewStub() {
    return Health::NewStub(server_->InProcessChannel().value());
  }

  Poller poller_;
  HeldHealth health_;
  std::unique_ptr<Server> server_;
};

TEST_F(LimitsTest, CallsBeyondTheLimitAreServedInTurn) {
  constexpr size_t kMore = 50;
  Start({});
  const auto stub = NewStub();
  std::deque<HeldCall> calls;
  for (size_t i = 0; i < kMaxStreams + kMore; ++i) calls.emplace_back(*stub);
  // As long as there are more, each that ends makes room for the next.
  for (size_t i = 0; i < kMore; ++i) health_.AnswerOne(kMaxStreams);
  for (size_t i = 0; i < kMaxStreams; ++i) health_.AnswerOne(1);
  for (HeldCall& call : calls) EXPECT_TRUE(call.ended.get_future().get());
  EXPECT_EQ(health_.most(), static_cast<size_t>(kMaxStreams));
}

// gRPC's own rule would be to leave a peer that pings more often than every five minutes.
TEST_F(LimitsTest, PeersMayPingAsOftenAsTheyLike) {
  constexpr int kPings = 200;
  Start({.pings = Pings()});
  PlainPeer peer = NewPeer();
  for (int i = 0; i < kPings; ++i) peer.Ping();
  for (int answers = 0; answers < kPings;) {
    const auto frame = peer.Read();
    ASSERT_TRUE(frame) << "after " << answers << " answers";
    ASSERT_NE(frame->type, PlainPeer::kGoAway);
    if (frame->type == PlainPeer::kPing && frame->answer) ++answers;
  }
}

TEST_F(LimitsTest, PeersThatDoNotAnswerAreLeft) {
  Start({.pings = Pings{.silence = std::chrono::milliseconds(50),
                        .patience = std::chrono::milliseconds(200)}});
  const auto stub = NewStub();
  HeldCall call(*stub);
  PlainPeer dead = NewPeer();
  bool asked = false;
  while (const auto frame = dead.Read()) asked |= frame->type == PlainPeer::kPing && !frame->answer;
  EXPECT_TRUE(asked);
  // One that answers stays, however long its call takes.
  health_.AnswerOne(1);
  EXPECT_TRUE(call.ended.get_future().get());
}

}  // namespace
}  // namespace kiln::rpc
