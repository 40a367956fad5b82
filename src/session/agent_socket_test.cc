#include "session/agent_socket.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <filesystem>
#include <vector>

#include "base/ids.h"
#include "rpc/address.h"

namespace kiln::session {
namespace {

class AgentSocketTest : public testing::Test {
 protected:
  void Open(AgentSocket::Forward forward) {
    agent_ = AgentSocket::Open({.directory = folder_}, std::move(forward), {}).value();
  }
  void TearDown() override {
    agent_.reset();
    std::filesystem::remove_all(folder_);
  }
  Fd Connect() const {
    rpc::Address address;
    address.path = agent_->path();
    return rpc::ConnectTo(address).value();
  }

  const std::string folder_ = testing::TempDir() + "/agent-" + NewId();
  std::unique_ptr<AgentSocket> agent_;
};

// The other side closes within `milliseconds`.
bool Closes(const Fd& socket, int milliseconds) {
  pollfd readable{socket.get(), POLLIN, 0};
  if (poll(&readable, 1, milliseconds) <= 0) return false;
  char byte = 0;
  const Result<size_t> n = ReadSome(socket.get(), &byte, 1);
  return !n.ok() || *n == 0;
}

TEST_F(AgentSocketTest, ConnectionsThatEndedMakeRoom) {
  std::atomic<int> served{0};
  Open([&](const progress::Activity&, const Fd& connection) {
    char byte = 0;
    EXPECT_EQ(*ReadSome(connection.get(), &byte, 1), 1U);
    ++served;
    return OkStatus();
  });
  for (int i = 0; i < 600; ++i) {
    const Fd connection = Connect();
    ASSERT_TRUE(rpc::SendAll(connection.get(), "x").ok());
    ASSERT_TRUE(Closes(connection, 20'000)) << i;
  }
  EXPECT_EQ(served, 600);
}

TEST_F(AgentSocketTest, ClosesWhatIsTooMany) {
  Open([](const progress::Activity& activity, const Fd&) {
    (void)activity.cancel.WaitFor(std::chrono::minutes(1));
    return OkStatus();
  });
  std::vector<Fd> open;
  for (int i = 0; i < 256; ++i) open.push_back(Connect());
  EXPECT_TRUE(Closes(Connect(), 20'000));
  EXPECT_FALSE(Closes(open.front(), 0));
}

}  // namespace
}  // namespace kiln::session
