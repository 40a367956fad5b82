#include "rpc/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <ctime>
#include <thread>
#include <vector>

#include "rpc/address.h"

namespace kiln::rpc {
namespace {

using std::chrono::milliseconds;

// Keeps what it accepts until told to drop it.
class Guests {
 public:
  void Add(Fd socket) {
    MutexLock lock(mutex_);
    sockets_.push_back(std::move(socket));
  }
  size_t count() {
    MutexLock lock(mutex_);
    return sockets_.size();
  }
  void DropOne() {
    MutexLock lock(mutex_);
    sockets_.pop_back();
  }

 private:
  Mutex mutex_;
  std::vector<Fd> sockets_ GUARDED_BY(mutex_);
};

class AcceptorTest : public testing::Test {
 protected:
  void Listen(const AcceptLimits& limits) {
    Fd listener = std::move(ListenOn(*Address::Parse("tcp://127.0.0.1:0"), {}).value().front());
    address_ = BoundAddress(listener).value();
    acceptor_ = Acceptor::Start(
        poller_, std::move(listener), nullptr,
        [this](Fd socket) { guests_.Add(std::move(socket)); }, limits);
  }
  void TearDown() override { acceptor_->Stop(); }

  Poller poller_;
  Guests guests_;
  Address address_;
  std::shared_ptr<Acceptor> acceptor_;
};

// Whether the other side closes, rather than leaving the connection open for `time`.
bool Closes(const Fd& socket, milliseconds time) {
  pollfd readable{socket.get(), POLLIN, 0};
  return poll(&readable, 1, static_cast<int>(time.count())) > 0;
}

TEST_F(AcceptorTest, ClosesWhatIsTooMany) {
  Listen({.connections = 2});
  std::vector<Fd> clients;
  clients.push_back(ConnectTo(address_).value());
  clients.push_back(ConnectTo(address_).value());
  const Fd third = ConnectTo(address_).value();
  EXPECT_TRUE(Closes(third, milliseconds(20'000)));
  EXPECT_EQ(guests_.count(), 2U);
  guests_.DropOne();
  // Room is looked for once a second.
  while (guests_.count() < 2) {
    Fd next = ConnectTo(address_).value();
    if (!Closes(next, milliseconds(20))) clients.push_back(std::move(next));
  }
}

std::chrono::nanoseconds ProcessorTime() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

TEST_F(AcceptorTest, RestsWhenThereAreNoDescriptors) {
  Listen({.pause = milliseconds(50)});
  const Fd first = ConnectTo(address_).value();
  while (guests_.count() < 1) std::this_thread::yield();

  const Fd second(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit old{};
  getrlimit(RLIMIT_NOFILE, &old);
  const rlimit none{static_cast<rlim_t>(second.get()) + 1, old.rlim_max};
  // All below the limit is taken.
  std::vector<Fd> fill;
  setrlimit(RLIMIT_NOFILE, &none);
  while (true) {
    Fd one(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!one) break;
    fill.push_back(std::move(one));
  }
  sockaddr_storage name{};
  {
    auto* to = reinterpret_cast<sockaddr_in*>(&name);
    to->sin_family = AF_INET;
    to->sin_port = htons(address_.port);
    to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  ASSERT_EQ(connect(second.get(), reinterpret_cast<sockaddr*>(&name), sizeof(sockaddr_in)), 0);
  const auto before = ProcessorTime();
  std::this_thread::sleep_for(milliseconds(500));
  const auto used = ProcessorTime() - before;
  EXPECT_EQ(guests_.count(), 1U);
  setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_LT(used, milliseconds(200)) << "it turned in circles";
  while (guests_.count() < 2) std::this_thread::yield();
}

}  // namespace
}  // namespace kiln::rpc
