#include "control/history_stream.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <moby/buildkit/v1/control.grpc.pb.h>

#include <filesystem>

#include "api/timestamp.h"
#include "base/ids.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;

class HistoryService final : public pb::Control::CallbackService {
 public:
  HistoryService(history::History& history, const Clock& clock)
      : history_(history), clock_(clock) {}

  grpc::ServerWriteReactor<pb::BuildHistoryEvent>* ListenBuildHistory(
      grpc::CallbackServerContext*, const pb::BuildHistoryRequest* request) override {
    return ServeHistory(history_, pool_, clock_, *request);
  }

 private:
  history::History& history_;
  const Clock& clock_;
  WorkerPool pool_{"history-test", 2};
};

class HistoryStreamTest : public testing::Test {
 protected:
  HistoryStreamTest() : dir_(testing::TempDir() + "/history-stream-" + NewId()) {
    auto history = history::History::Open(dir_, clock_, {});
    EXPECT_TRUE(history.ok());
    history_ = std::move(*history);
    service_ = std::make_unique<HistoryService>(*history_, clock_);
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = pb::Control::NewStub(server_->InProcessChannel({}));
  }
  ~HistoryStreamTest() override {
    server_->Shutdown();
    std::filesystem::remove_all(dir_);
  }

  void Build(const std::string& ref) {
    history::Record record;
    record.set_ref(ref);
    api::ToProto(clock_.Now(), record.mutable_createdat());
    ASSERT_TRUE(history_->Begin(record).ok());
    api::ToProto(clock_.Now(), record.mutable_completedat());
    ASSERT_TRUE(history_->Complete(record, "").ok());
  }

  const std::string dir_;
  FakeClock clock_;
  std::unique_ptr<history::History> history_;
  std::unique_ptr<HistoryService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<pb::Control::Stub> stub_;
};

TEST_F(HistoryStreamTest, WhoReadsHearsAllInOrder) {
  Build("before");
  grpc::ClientContext context;
  const auto reader = stub_->ListenBuildHistory(&context, {});
  pb::BuildHistoryEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.record().ref(), "before");
  Build("after");
  for (const auto type : {pb::STARTED, pb::COMPLETE}) {
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.record().ref(), "after");
    EXPECT_EQ(event.type(), type);
  }
  context.TryCancel();
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

// What waits for a client that does not read does not grow without end.
TEST_F(HistoryStreamTest, WhoDoesNotReadIsLeft) {
  Build("build");
  grpc::ClientContext context;
  const auto reader = stub_->ListenBuildHistory(&context, {});
  pb::BuildHistoryEvent event;
  ASSERT_TRUE(reader->Read(&event));
  // So many more than may wait are on their way to the client at most.
  constexpr size_t kOnTheWay = 64;
  for (size_t i = 0; i < kMaxWaitingEvents + kOnTheWay; ++i)
    ASSERT_TRUE(history_->SetPinned("build", i % 2 == 0).ok());
  size_t read = 0;
  while (reader->Read(&event)) ++read;
  EXPECT_LE(read, kOnTheWay);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "4096 events of the build history wait to be read");
}

}  // namespace
}  // namespace kiln::control
