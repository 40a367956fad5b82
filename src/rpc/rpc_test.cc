#include <fcntl.h>
#include <google/rpc/status.pb.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <moby/buildkit/v1/control.grpc.pb.h>

#include <deque>
#include <filesystem>
#include <future>
#include <thread>

#include "base/ids.h"
#include "base/mutex.h"
#include "rpc/metadata.h"
#include "rpc/pump.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "rpc/tunnel.h"

namespace kiln::rpc {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using moby::buildkit::v1::BytesMessage;
using moby::buildkit::v1::Control;

TEST(StatusTest, DetailsPassBothWaysUnchanged) {
  Error error = NotFound("no {}", "bread");
  error.AddDetail({"github.com/moby/buildkit/errdefs.Vertex+json", R"({"digest":"x"})"});
  error.AddDetail({"unknown.type", std::string("\0\1", 2)});
  error.AddContext("baking");
  const grpc::Status status = ToGrpc(error);
  EXPECT_EQ(status.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "baking: no bread");
  const Error back = FromGrpc(status);
  EXPECT_EQ(back.code(), Code::kNotFound);
  EXPECT_EQ(back.ToString(), "baking: no bread");
  EXPECT_EQ(back.details(), error.details());
}

TEST(StatusTest, GarbageInDetailsIsIgnored) {
  const Error error = FromGrpc({grpc::UNKNOWN, "text", "\xff\xff garbage"});
  EXPECT_EQ(error.message(), "text");
  google::rpc::Status proto;
  EXPECT_EQ(FromProto(proto).code(), Code::kUnknown);
}

MetadataMap Map(const MetadataList& list) {
  MetadataMap map;
  for (const auto& [key, value] : list) map.emplace(key, value);
  return map;
}

TEST(MetadataTest, ValuesAHeaderCannotCarryAreEncoded) {
  for (const std::vector<std::string>& values : {std::vector<std::string>{"plain", "a b"},
                                                 {"ä/ö", "x"},
                                                 {" lead"},
                                                 {"tab\t", "100%", "a+b"}}) {
    MetadataList list;
    AppendEncoded(kFollowKey, values, &list);
    for (const auto& [key, value] : list) {
      for (const unsigned char c : value) EXPECT_TRUE(c >= 0x20 && c < 0x7f);
    }
    const MetadataMap map = Map(list);
    EXPECT_EQ(DecodeValues(map, kFollowKey).value(), values);
  }
  const MetadataList bad = {{"followpaths", "%4"}, {"followpaths-encoded", "1"}};
  EXPECT_FALSE(DecodeValues(Map(bad), kFollowKey).ok());
}

TEST(AddressTest, ParsesTheThreeForms) {
  EXPECT_EQ(Address::Parse("unix:///run/x.sock")->path, "/run/x.sock");
  EXPECT_EQ(Address::Parse("tcp://[::1]:1234")->host, "::1");
  EXPECT_EQ(Address::Parse("tcp://0.0.0.0:80")->ToString(), "tcp://0.0.0.0:80");
  EXPECT_EQ(Address::Parse("fd://")->kind, Address::Kind::kFd);
  EXPECT_EQ(Address::Parse("fd://tls")->ToString(), "fd://tls");
  EXPECT_EQ(Address::Parse("/run/x").error().ToString(),
            "address /run/x does not contain proto, you meant unix:///run/x ?");
  for (const char* bad :
       {"", "tcp://host", "tcp://host:x", "tcp://h:70000", "npipe://x", "unix://"}) {
    EXPECT_FALSE(Address::Parse(bad).ok()) << bad;
  }
}

// Answers Check with an error whose trailers are `bytes` long, or OK for 0.
class TestHealth final : public Health::CallbackService {
 public:
  explicit TestHealth(size_t error_bytes) : error_bytes_(error_bytes) {}
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context, const HealthCheckRequest*,
                                  HealthCheckResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    response->set_status(HealthCheckResponse::SERVING);
    if (error_bytes_ == 0) {
      reactor->Finish(grpc::Status::OK);
    } else {
      Error error = NotFound("long");
      error.AddDetail({"type", std::string(error_bytes_, 'x')});
      reactor->Finish(ToGrpc(error));
    }
    return reactor;
  }

 private:
  const size_t error_bytes_;
};

Status Check(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  HealthCheckResponse response;
  return ToStatus(Health::NewStub(channel)->Check(&context, {}, &response));
}

std::shared_ptr<grpc::Channel> Connect(const Address& address) {
  Fd fd = ConnectTo(address).value();
  fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return ChannelOverSocket(std::move(fd));
}

// A socket of an address that has one.
Fd ListenOne(const std::string& address) {
  return std::move(ListenOn(*Address::Parse(address), {}).value().front());
}

TEST(ServerTest, ServesUnixAndTcpSockets) {
  const std::string path = std::filesystem::temp_directory_path() / ("kiln-" + NewId()) / "s.sock";
  Poller poller;
  TestHealth health(0);
  auto server = Server::Start({&health}, poller).value();
  Fd tcp = ListenOne("tcp://127.0.0.1:0");
  const Address tcp_address = BoundAddress(tcp).value();
  const Address unix_address = *Address::Parse("unix://" + path);
  server->Accept(std::move(tcp), nullptr);
  server->Accept(ListenOne("unix://" + path), nullptr);
  EXPECT_TRUE(Check(Connect(tcp_address)).ok());
  EXPECT_TRUE(Check(Connect(unix_address)).ok());
  EXPECT_TRUE(Check(server->InProcessChannel().value()).ok());
  EXPECT_EQ(ListenOn(unix_address, {}).error().code(), Code::kAlreadyExists);
  server->Shutdown(std::chrono::seconds(1));
  EXPECT_TRUE(ListenOn(unix_address, {}).ok());  // stale now
  std::filesystem::remove_all(std::filesystem::path(path).parent_path());
}

TEST(AddressTest, ListensOnAllAddressesOfAHost) {
  const std::vector<Fd> sockets =
      std::move(ListenOn(*Address::Parse("tcp://localhost:0"), {}).value());
  ASSERT_FALSE(sockets.empty());
  const uint16_t port = BoundAddress(sockets.front())->port;
  for (const Fd& socket : sockets) {
    const Address bound = BoundAddress(socket).value();
    EXPECT_EQ(bound.port, port);
    EXPECT_TRUE(ConnectTo(bound).ok()) << bound.ToString();
    EXPECT_TRUE(IsNetworkSocket(socket).value());
  }
  // Both families of a machine that has both.
  const auto any = ListenOn(*Address::Parse("tcp://:0"), {});
  const bool has_ipv6 = ListenOn(*Address::Parse("tcp://[::1]:0"), {}).ok();
  EXPECT_EQ(any->size(), has_ipv6 ? 2U : 1U);
}

TEST(ServerTest, CarriesLargeErrorTrailers) {
  Poller poller;
  TestHealth health(1 << 20);
  auto server = Server::Start({&health}, poller).value();
  Fd tcp = ListenOne("tcp://127.0.0.1:0");
  const Address address = BoundAddress(tcp).value();
  server->Accept(std::move(tcp), nullptr);
  const Status status = Check(Connect(address));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), Code::kNotFound) << status.error().ToString();
  ASSERT_EQ(status.error().details().size(), 1U);
  EXPECT_EQ(status.error().details()[0].value.size(), 1U << 20);
}

// A daemon that makes a tunnel of every Session RPC and gives the channel over it away.
class TunnelService final : public Control::CallbackService {
 public:
  explicit TunnelService(Poller& poller) : poller_(poller) {}
  grpc::ServerBidiReactor<BytesMessage, BytesMessage>* Session(
      grpc::CallbackServerContext*) override {
    PipeAndSocket ends = MakePipe(poller_).value();
    auto* reactor = new TunnelReactor(ends.pipe, [this] { closed.set_value(); });
    reactor->Begin();
    opened.set_value(ChannelOverSocket(std::move(ends.other)));
    return reactor;
  }
  std::promise<std::shared_ptr<grpc::Channel>> opened;
  std::promise<void> closed;

 private:
  Poller& poller_;
};

class TunnelTest : public testing::TestWithParam<size_t> {};

TEST_P(TunnelTest, DaemonCallsBackIntoItsClient) {
  Poller poller;
  TunnelService service(poller);
  auto daemon = Server::Start({&service}, poller).value();
  TestHealth health(GetParam());
  auto client = Server::Start({&health}, poller).value();

  grpc::ClientContext context;
  auto stream = Control::NewStub(daemon->InProcessChannel().value())->Session(&context);
  auto [ours, theirs] = SocketPair().value();
  ASSERT_TRUE(client->Adopt(std::move(theirs)).ok());
  std::thread pump([&, fd = std::move(ours)]() mutable {
    EXPECT_TRUE(PumpTunnel(*stream, std::move(fd)).ok());
  });

  auto channel = service.opened.get_future().get();
  for (int i = 0; i < 3; ++i) {
    const Status status = Check(channel);
    EXPECT_EQ(status.ok(), GetParam() == 0);
    if (!status.ok()) {
      EXPECT_EQ(status.error().code(), Code::kNotFound);
    }
  }
  client->Shutdown(std::chrono::milliseconds(0));  // half-closes: the daemon ends the RPC with OK
  pump.join();
  EXPECT_TRUE(stream->Finish().ok());
  service.closed.get_future().get();
  EXPECT_EQ(Check(channel).error().code(), Code::kUnavailable);
}

// A call that carries what is put into it, on threads of the test.
class QueuedCall {
 public:
  MessageBytes bytes() {
    MessageBytes bytes;
    bytes.read = [this](std::string* data) {
      MutexLock lock(mutex_);
      while (in_.empty() && !ended_) changed_.Wait(lock);
      if (in_.empty()) return false;
      *data = std::move(in_.front());
      in_.pop_front();
      return true;
    };
    bytes.write = [this](std::string* data) {
      MutexLock lock(mutex_);
      out_ += *data;
      return true;
    };
    bytes.end_writes = [this] { End(); };
    return bytes;
  }
  void Put(std::string data) {
    MutexLock lock(mutex_);
    in_.push_back(std::move(data));
    changed_.NotifyAll();
  }
  void End() {
    MutexLock lock(mutex_);
    ended_ = true;
    changed_.NotifyAll();
  }
  std::string written() {
    MutexLock lock(mutex_);
    return out_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> in_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  std::string out_ GUARDED_BY(mutex_);
};

TEST(PumpTest, AnswersBehindAHalfCloseArrive) {
  QueuedCall call;
  call.Put("question");
  call.End();
  auto [near, far] = SocketPair().value();
  std::thread peer([socket = std::move(far)] {
    EXPECT_EQ(*ReadAll(socket.get()), "question");
    EXPECT_TRUE(SendAll(socket.get(), "answer").ok());
  });
  EXPECT_TRUE(Pump(call.bytes(), near.get(), AtCallEnd::kHalfClose).ok());
  peer.join();
  EXPECT_EQ(call.written(), "answer");
}

TEST(PumpTest, ReadsTheCallToItsEndOrAbandonsIt) {
  for (const bool abandons : {false, true}) {
    QueuedCall call;
    auto [near, far] = SocketPair().value();
    far.Reset();
    for (int i = 0; i < 3; ++i) call.Put("nobody takes it");
    MessageBytes bytes = call.bytes();
    bool abandoned = false;
    if (abandons) bytes.abandon = [&abandoned] { abandoned = true; };
    EXPECT_TRUE(Pump(bytes, near.get(), AtCallEnd::kHangUp).ok());
    EXPECT_EQ(abandoned, abandons);
  }
}

// Both ends close at the same time: whoever comes second finds the reactor gone.
TEST(TunnelRaceTest, BothEndsCloseAtOnce) {
  Poller poller;
  for (int i = 0; i < 50; ++i) {
    TunnelService service(poller);
    auto daemon = Server::Start({&service}, poller).value();
    grpc::ClientContext context;
    auto stream = Control::NewStub(daemon->InProcessChannel().value())->Session(&context);
    auto channel = service.opened.get_future().get();
    std::thread closer([&] { channel.reset(); });
    std::thread canceller([&] { context.TryCancel(); });
    stream->WritesDone();
    closer.join();
    canceller.join();
    (void)stream->Finish();
    service.closed.get_future().get();
  }
}

INSTANTIATE_TEST_SUITE_P(, TunnelTest, testing::Values(0, 1 << 20));

}  // namespace
}  // namespace kiln::rpc
