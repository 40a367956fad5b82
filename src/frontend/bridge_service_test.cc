#include "frontend/bridge_service.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "frontend/testing/test_build.h"
#include "llb/build.h"
#include "llb/marshal.h"
#include "llb/source_map.h"
#include "rpc/metadata.h"
#include "rpc/poller.h"
#include "rpc/server.h"
#include "rpc/status.h"

namespace kiln::frontend {
namespace {

using testing::HasSubstr;

class BridgeServiceTest : public testing::Test {
 protected:
  BridgeServiceTest() {
    ::moby::buildkit::v1::types::WorkerRecord worker;
    worker.set_id("worker");
    service = std::make_unique<BridgeService>(
        [this](const std::string& id, std::function<void(Result<BridgePtr>)> done) {
          if (id == "known") return done(bridge);
          done(NotFound("no such job {}", id));
        },
        build.pool(), std::move(worker), kMaxRequests);
    auto started = rpc::Server::Start({service.get()}, poller);
    CHECK_MSG(started.ok(), started.ok() ? "" : started.error().ToString());
    server = std::move(*started);
    stub = wire::LLBBridge::NewStub(server->InProcessChannel().value());
  }

  static constexpr size_t kMaxRequests = 2;

  static void Name(grpc::ClientContext& context, const std::vector<std::string>& ids) {
    for (const auto& id : ids) context.AddMetadata(rpc::kBuildIdKey, id);
  }
  grpc::Status Ping(const std::vector<std::string>& ids, wire::PongResponse* response) {
    grpc::ClientContext context;
    Name(context, ids);
    return stub->Ping(&context, {}, response);
  }

  TestBuild build;
  BridgePtr bridge = build.MakeBridge();
  rpc::Poller poller;
  std::unique_ptr<BridgeService> service;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<wire::LLBBridge::Stub> stub;
};

TEST_F(BridgeServiceTest, CallsGoToTheBuildTheyName) {
  wire::PongResponse response;
  ASSERT_TRUE(Ping({"known"}, &response).ok());
  EXPECT_EQ(response.workers(0).id(), "worker");
  EXPECT_EQ(Ping({}, &response).error_message(), "no buildid found in context");
  EXPECT_EQ(Ping({"known", "other"}, &response).error_message(), "no buildid found in context");
  const grpc::Status unknown = Ping({"other"}, &response);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(unknown.error_message(), HasSubstr("no such job other"));
}

TEST_F(BridgeServiceTest, ErrorsTravelWithTheirDetails) {
  build.files["local://dockerfile"]["Dockerfile"] = "FROM scratch\nCOPPY a b\n";
  grpc::ClientContext context;
  Name(context, {"known"});
  wire::SolveRequest request;
  request.set_frontend("dockerfile.v0");
  wire::SolveResponse response;
  const grpc::Status status = stub->Solve(&context, request, &response);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNKNOWN);
  EXPECT_THAT(status.error_message(), HasSubstr("unknown instruction: COPPY"));
  EXPECT_NE(rpc::FromGrpc(status).FindDetail(llb::kSourceDetailType), nullptr);
}

// Each that waits for steps has a thread: a client that asks without end has not all there are.
TEST_F(BridgeServiceTest, RequestsBeyondTheLimitAreRefused) {
  std::promise<void> go_on;
  const std::shared_future<void> gone_on = go_on.get_future().share();
  // No step runs while the threads that would run it are busy.
  for (int i = 0; i < 16; ++i) build.pool().Submit([gone_on] { gone_on.wait(); });
  llb::MkfileAction file;
  file.path = "/f";
  wire::SolveRequest request;
  *request.mutable_definition() = *llb::Marshal(llb::File({}, {std::move(file)}));
  request.set_evaluate(true);
  const auto solve = [&] {
    grpc::ClientContext context;
    Name(context, {"known"});
    wire::SolveResponse response;
    return stub->Solve(&context, request, &response);
  };
  std::vector<std::future<grpc::Status>> calls;
  for (size_t i = 0; i <= kMaxRequests; ++i) calls.push_back(std::async(std::launch::async, solve));
  size_t refused = 0;
  while (refused == 0) {
    for (auto& call : calls) {
      if (call.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready) continue;
      const grpc::Status status = call.get();
      EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
      std::swap(call, calls.back());
      calls.pop_back();
      ++refused;
      break;
    }
  }
  go_on.set_value();
  for (auto& call : calls) {
    const grpc::Status status = call.get();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(refused, 1U);
  // Threads end a moment after the answers.
  while (!solve().ok()) std::this_thread::yield();
}

TEST_F(BridgeServiceTest, ContainersAreRefusedByName) {
  grpc::ClientContext context;
  Name(context, {"known"});
  wire::NewContainerResponse response;
  const grpc::Status status = stub->NewContainer(&context, {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("NewContainer"));

  grpc::ClientContext stream_context;
  Name(stream_context, {"known"});
  const auto stream = stub->ExecProcess(&stream_context);
  wire::ExecMessage message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace kiln::frontend
