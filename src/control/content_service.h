#pragma once

#include <containerd/services/content/v1/content.grpc.pb.h>

#include "base/pool.h"

namespace kiln::history {
class History;
}
namespace kiln::store {
class Store;
}

namespace kiln::control {

// containerd.services.content.v1.Content: the blobs of the store and of the history, to
// read.
class ContentService final : public containerd::services::content::v1::Content::CallbackService {
 public:
  // All outlive the service.
  ContentService(store::Store& store, history::History& history, WorkerPool& blocking)
      : store_(store), history_(history), blocking_(blocking) {}

  grpc::ServerUnaryReactor* Info(
      grpc::CallbackServerContext* context,
      const containerd::services::content::v1::InfoRequest* request,
      containerd::services::content::v1::InfoResponse* response) override;
  grpc::ServerWriteReactor<containerd::services::content::v1::ReadContentResponse>* Read(
      grpc::CallbackServerContext* context,
      const containerd::services::content::v1::ReadContentRequest* request) override;
  // All blobs that match the filters (digest, size, labels.NAME), 100 in a message.
  grpc::ServerWriteReactor<containerd::services::content::v1::ListContentResponse>* List(
      grpc::CallbackServerContext* context,
      const containerd::services::content::v1::ListContentRequest* request) override;
  // Nothing is being written.
  grpc::ServerUnaryReactor* Status(
      grpc::CallbackServerContext* context,
      const containerd::services::content::v1::StatusRequest* request,
      containerd::services::content::v1::StatusResponse* response) override;
  grpc::ServerUnaryReactor* ListStatuses(
      grpc::CallbackServerContext* context,
      const containerd::services::content::v1::ListStatusesRequest* request,
      containerd::services::content::v1::ListStatusesResponse* response) override;
  grpc::ServerUnaryReactor* Update(
      grpc::CallbackServerContext* context,
      const containerd::services::content::v1::UpdateRequest* request,
      containerd::services::content::v1::UpdateResponse* response) override;
  grpc::ServerUnaryReactor* Delete(
      grpc::CallbackServerContext* context,
      const containerd::services::content::v1::DeleteContentRequest* request,
      google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const containerd::services::content::v1::AbortRequest* request,
                                  google::protobuf::Empty* response) override;
  grpc::ServerBidiReactor<containerd::services::content::v1::WriteContentRequest,
                          containerd::services::content::v1::WriteContentResponse>*
  Write(grpc::CallbackServerContext* context) override;

 private:
  store::Store& store_;
  history::History& history_;
  WorkerPool& blocking_;
};

}  // namespace kiln::control
