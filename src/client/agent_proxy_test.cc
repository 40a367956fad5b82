#include "client/agent_proxy.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "rpc/address.h"

namespace kiln::client {
namespace {

std::string Message(std::string_view body) {
  std::string message(4, '\0');
  message[2] = static_cast<char>(body.size() >> 8);
  message[3] = static_cast<char>(body.size());
  return message.append(body);
}

const std::string kFailure = Message("\5");

// An agent that answers each message of its one connection with the same bytes reversed, and keeps
// what it was asked.
class ReversingAgent {
 public:
  ReversingAgent() {
    address_.path = testing::TempDir() + "/agent-" + NewId();
    listener_ = std::move(rpc::ListenOn(address_, {}).value().front());
    thread_ = std::thread([this] { Serve(); });
  }
  ~ReversingAgent() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    std::filesystem::remove(address_.path);
  }
  const std::string& path() const { return address_.path; }
  const std::vector<std::string>& asked() const { return asked_; }

 private:
  void Serve() {
    Fd connection;
    while (!connection) {
      connection = Fd(accept(listener_.get(), nullptr, nullptr));
      if (!connection && errno != EAGAIN) return;
    }
    std::array<char, 4> length{};
    while (true) {
      const Result<size_t> n = ReadSome(connection.get(), length.data(), length.size());
      if (!n.ok() || *n != length.size()) return;
      std::string body(static_cast<size_t>(static_cast<unsigned char>(length[3])), '\0');
      ASSERT_EQ(*ReadSome(connection.get(), body.data(), body.size()), body.size());
      asked_.push_back(body);
      ASSERT_TRUE(
          rpc::SendAll(connection.get(), Message(std::string(body.rbegin(), body.rend()))).ok());
    }
  }

  rpc::Address address_;
  Fd listener_;
  std::vector<std::string> asked_;
  std::thread thread_;
};

const auto kNever = [] { return false; };

TEST(AgentProxyTest, PassesListingAndSigningOnly) {
  ReversingAgent agent;
  {
    AgentProxy proxy = AgentProxy::Connect(agent.path()).value();
    EXPECT_EQ(*proxy.Ask(Message("\x0b list"), kNever), Message("tsil \x0b"));
    EXPECT_EQ(*proxy.Ask(Message("\x0d sign"), kNever), Message("ngis \x0d"));
    // Add, remove, remove all, lock, a smart card, an extension; no type at all.
    for (const char* body : {"\x11 x", "\x12 x", "\x13", "\x16 x", "\x14 x", "\x1b x", ""})
      EXPECT_EQ(*proxy.Ask(Message(body), kNever), kFailure) << body;
    EXPECT_EQ(agent.asked().size(), 2U);
  }
}

TEST(AgentProxyTest, CutsBytesIntoMessages) {
  ReversingAgent agent;
  AgentProxy proxy = AgentProxy::Connect(agent.path()).value();
  const std::string both = Message("\x0b one") + Message("\x13") + Message("\x0b two");
  EXPECT_EQ(*proxy.Ask(both.substr(0, 3), kNever), "");
  EXPECT_EQ(*proxy.Ask(both.substr(3, 10), kNever), Message("eno \x0b"));
  EXPECT_EQ(*proxy.Ask(both.substr(13), kNever), kFailure + Message("owt \x0b"));
  EXPECT_FALSE(proxy.Ask("\xff\xff\xff\xff", kNever).ok());
}

}  // namespace
}  // namespace kiln::client
