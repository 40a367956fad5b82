#include "control/write_stream.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <moby/buildkit/v1/control.grpc.pb.h>

#include <climits>
#include <random>
#include <thread>

#include "base/thread.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;

// A stream whose messages are made where Next is called, as logs and blobs are.
class Counting final : public WriteStream<pb::UsageRecord> {
 public:
  Counting(WorkerPool* pool, int count) : WriteStream(pool), left_(count) {}

 private:
  Result<Step> Next(pb::UsageRecord* record) override {
    if (left_ < 0) return Internal("less than none");
    if (left_ == 0) return Step::kEnd;
    record->set_size(left_--);
    return Step::kMessage;
  }
  int left_;
};

// Streams of all kinds, ended from other threads than gRPC's.
class Service final : public pb::Control::CallbackService {
 public:
  explicit Service(WorkerPool& pool) : pool_(pool) {}

  grpc::ServerWriteReactor<pb::UsageRecord>* Prune(grpc::CallbackServerContext*,
                                                   const pb::PruneRequest* request) override {
    const auto count = static_cast<int>(request->keepduration());
    if (request->all()) return Counting::Serve(std::make_shared<Counting>(&pool_, count));
    if (count < 0) return Counting::Serve(std::make_shared<Counting>(nullptr, count));
    const auto stream = std::make_shared<QueuedStream<pb::UsageRecord>>();
    pool_.Submit([stream, count] {
      for (int i = count; i > 0 && !stream->cancelled().cancelled(); --i) {
        pb::UsageRecord record;
        record.set_size(i);
        stream->Send(std::move(record));
      }
      stream->End(OkStatus());
      stream->Wake();
    });
    return stream->Serve(stream);
  }

 private:
  WorkerPool& pool_;
};

class WriteStreamTest : public testing::Test {
 protected:
  WriteStreamTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = pb::Control::NewStub(server_->InProcessChannel({}));
  }
  ~WriteStreamTest() override { server_->Shutdown(); }

  // Reads until the end, or `most` messages and then hangs up; how many there were.
  std::pair<int, grpc::Status> Read(int count, bool on_pool, int most = INT_MAX) {
    grpc::ClientContext context;
    pb::PruneRequest request;
    request.set_keepduration(count);
    request.set_all(on_pool);
    const auto reader = stub_->Prune(&context, request);
    pb::UsageRecord record;
    int read = 0;
    while (read < most && reader->Read(&record)) {
      EXPECT_EQ(record.size(), count - read);
      ++read;
    }
    if (read == most) context.TryCancel();
    while (reader->Read(&record)) {
    }
    return {read, reader->Finish()};
  }

  WorkerPool pool_{"stream-test", 8};
  Service service_{pool_};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<pb::Control::Stub> stub_;
};

TEST_F(WriteStreamTest, SendsAllInOrderAndEnds) {
  for (const bool on_pool : {false, true}) {
    const auto [read, status] = Read(1000, on_pool);
    EXPECT_EQ(read, 1000);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(Read(-1, false).second.error_message(), "less than none");
}

TEST_F(WriteStreamTest, WaitsWithoutAMessage) {
  const auto stream = std::make_shared<QueuedStream<pb::UsageRecord>>();
  stream->Send({});
  stream->End(OkStatus());
  // Never served: nothing was begun, and nothing is left.
}

// Ends race with hang-ups and with wakes of threads that come late.
TEST_F(WriteStreamTest, NothingIsTouchedBehindTheEnd) {
  std::vector<std::thread> clients;
  for (unsigned seed = 0; seed < 4; ++seed) {
    clients.push_back(AwaitThread("client", [this, seed] {
      std::minstd_rand random(seed);
      for (int round = 0; round < 300; ++round) {
        const int count = static_cast<int>(random() % 20);
        const int most = random() % 3 == 0 ? static_cast<int>(random() % 10) : INT_MAX;
        const auto [read, status] = Read(count, random() % 2 == 0, most);
        if (most > count) {
          EXPECT_EQ(read, count);
          EXPECT_TRUE(status.ok()) << status.error_message();
        }
      }
    }));
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace kiln::control
