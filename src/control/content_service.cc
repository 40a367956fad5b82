#include "control/content_service.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "control/progress_proto.h"
#include "control/reactors.h"
#include "history/history.h"
#include "store/store.h"

namespace kiln::control {
namespace {

namespace pb = containerd::services::content::v1;

constexpr size_t kChunkBytes = 1 << 20;

Error ReadOnly() { return FailedPrecondition("read-only content store"); }

grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(ReadOnly()));
  return reactor;
}

// Sends a blob piece by piece: the next is read from disk when the last one has gone.
class BlobStream final : public grpc::ServerWriteReactor<pb::ReadContentResponse> {
 public:
  BlobStream(store::Store& store, history::History& history, WorkerPool& blocking,
             const pb::ReadContentRequest& request)
      : store_(store), history_(history), blocking_(blocking), request_(request) {
    blocking_.Submit([this] { Begin(); });
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      blocking_.Submit([this] { SendNext(); });
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  void Begin() {
    const Status opened = Open();
    if (opened.ok()) {
      SendNext();
    } else {
      Finish(rpc::ToGrpc(opened));
    }
  }

  Status Open() {
    TRY_ASSIGN(const Digest digest, Digest::Parse(request_.digest()));
    TRY_ASSIGN(const int64_t size, OpenBlob(digest));
    offset_ = request_.offset();
    if (offset_ < 0 || offset_ > size)
      return OutOfRange("offset {} of blob {} of {} bytes", offset_, digest, size);
    end_ = request_.size() <= 0 ? size : offset_ + std::min(request_.size(), size - offset_);
    return OkStatus();
  }

  // Its size.
  Result<int64_t> OpenBlob(const Digest& digest) {
    if (const auto recorded = history_.FindBlob(digest.ToString())) {
      TRY_ASSIGN(fd_, OpenFile(recorded->path, O_RDONLY));
      return recorded->size;
    }
    TRY_ASSIGN(blob_, store_.GetBlob(digest));
    TRY_ASSIGN(fd_, blob_.Open());
    return static_cast<int64_t>(blob_.size());
  }

  void SendNext() {
    if (offset_ >= end_) {
      Finish(grpc::Status::OK);
      return;
    }
    std::string& data = *response_.mutable_data();
    data.resize(std::min<size_t>(kChunkBytes, static_cast<size_t>(end_ - offset_)));
    const ssize_t n = pread(fd_.get(), data.data(), data.size(), offset_);
    if (n <= 0) {
      Finish(rpc::ToGrpc(DataLoss("blob {} cannot be read", request_.digest())));
      return;
    }
    data.resize(static_cast<size_t>(n));
    response_.set_offset(offset_);
    offset_ += n;
    StartWrite(&response_);
  }

  store::Store& store_;
  history::History& history_;
  WorkerPool& blocking_;
  const pb::ReadContentRequest request_;
  store::BlobRef blob_;
  Fd fd_;
  int64_t offset_ = 0;
  int64_t end_ = 0;
  pb::ReadContentResponse response_;
};

class RefusedWrite final
    : public grpc::ServerBidiReactor<pb::WriteContentRequest, pb::WriteContentResponse> {
 public:
  RefusedWrite() { Finish(rpc::ToGrpc(ReadOnly())); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerUnaryReactor* ContentService::Info(grpc::CallbackServerContext*,
                                               const pb::InfoRequest* request,
                                               pb::InfoResponse* response) {
  return BlockingCall::Run(
      blocking_, [this, request, response](const CancelToken&) -> kiln::Status {
        TRY_ASSIGN(const Digest digest, Digest::Parse(request->digest()));
        if (const auto recorded = history_.FindBlob(digest.ToString())) {
          response->mutable_info()->set_digest(digest.ToString());
          response->mutable_info()->set_size(recorded->size);
          ToProto(recorded->created, response->mutable_info()->mutable_created_at());
          ToProto(recorded->created, response->mutable_info()->mutable_updated_at());
          return OkStatus();
        }
        TRY_ASSIGN(const store::BlobInfo info, store_.StatBlob(digest));
        response->mutable_info()->set_digest(info.digest.ToString());
        response->mutable_info()->set_size(static_cast<int64_t>(info.size));
        ToProto(info.created, response->mutable_info()->mutable_created_at());
        ToProto(info.created, response->mutable_info()->mutable_updated_at());
        response->mutable_info()->mutable_labels()->insert(info.labels.begin(), info.labels.end());
        return OkStatus();
      });
}

grpc::ServerWriteReactor<pb::ReadContentResponse>* ContentService::Read(
    grpc::CallbackServerContext*, const pb::ReadContentRequest* request) {
  return new BlobStream(store_, history_, blocking_, *request);
}

grpc::ServerUnaryReactor* ContentService::Update(grpc::CallbackServerContext* context,
                                                 const pb::UpdateRequest*, pb::UpdateResponse*) {
  return Refuse(context);
}

grpc::ServerUnaryReactor* ContentService::Delete(grpc::CallbackServerContext* context,
                                                 const pb::DeleteContentRequest*,
                                                 google::protobuf::Empty*) {
  return Refuse(context);
}

grpc::ServerUnaryReactor* ContentService::Abort(grpc::CallbackServerContext* context,
                                                const pb::AbortRequest*, google::protobuf::Empty*) {
  return Refuse(context);
}

grpc::ServerBidiReactor<pb::WriteContentRequest, pb::WriteContentResponse>* ContentService::Write(
    grpc::CallbackServerContext*) {
  return new RefusedWrite;
}

}  // namespace kiln::control
