#include "control/content_service.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "api/timestamp.h"
#include "base/filter.h"
#include "base/strings.h"
#include "control/blocking_call.h"
#include "control/write_stream.h"
#include "history/history.h"
#include "store/store.h"

namespace kiln::control {
namespace {

namespace content = containerd::services::content::v1;

constexpr size_t kChunkBytes = 1 << 20;
constexpr int kListBatch = 100;

Error ReadOnly() { return FailedPrecondition("read-only content store"); }

grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(ReadOnly()));
  return reactor;
}

// Sends a blob piece by piece: the next is read from disk when the last one has gone.
class BlobStream final : public WriteStream<content::ReadContentResponse> {
 public:
  BlobStream(store::Store& store, history::History& history, WorkerPool& blocking,
             const content::ReadContentRequest& request)
      : WriteStream(&blocking), store_(store), history_(history), request_(request) {}

 private:
  Result<Step> Next(content::ReadContentResponse* response) override {
    if (!fd_) TRY(Open());
    if (offset_ >= end_) return Step::kEnd;
    std::string& data = *response->mutable_data();
    data.resize(std::min<size_t>(kChunkBytes, static_cast<size_t>(end_ - offset_)));
    const ssize_t n = pread(fd_.get(), data.data(), data.size(), offset_);
    if (n <= 0) return DataLoss("blob {} cannot be read", request_.digest());
    data.resize(static_cast<size_t>(n));
    response->set_offset(offset_);
    offset_ += n;
    return Step::kMessage;
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

  store::Store& store_;
  history::History& history_;
  const content::ReadContentRequest request_;
  store::BlobRef blob_;
  Fd fd_;
  int64_t offset_ = 0;
  int64_t end_ = 0;
};

// Of a blob of the history, or of the store.
Result<content::Info> InfoOf(store::Store& store, history::History& history, const Digest& digest) {
  content::Info info;
  info.set_digest(digest.ToString());
  if (const auto recorded = history.FindBlob(digest.ToString())) {
    info.set_size(recorded->size);
    api::ToProto(recorded->created, info.mutable_created_at());
    api::ToProto(recorded->created, info.mutable_updated_at());
    return info;
  }
  TRY_ASSIGN(const store::BlobInfo blob, store.StatBlob(digest));
  info.set_size(static_cast<int64_t>(blob.size));
  api::ToProto(blob.created, info.mutable_created_at());
  api::ToProto(blob.created, info.mutable_updated_at());
  info.mutable_labels()->insert(blob.labels.begin(), blob.labels.end());
  return info;
}

std::optional<std::string> Field(const content::Info& info, const std::vector<std::string>& path) {
  if (path.size() == 1 && path[0] == "digest") return info.digest();
  if (path.size() == 1 && path[0] == "size") return std::to_string(info.size());
  if (path.size() < 2 || path[0] != "labels") return std::nullopt;
  const std::string name = Join({path.begin() + 1, path.end()}, ".");
  const auto label = info.labels().find(name);
  if (label == info.labels().end()) return std::nullopt;
  return label->second;
}

class ListStream final : public WriteStream<content::ListContentResponse> {
 public:
  ListStream(store::Store& store, history::History& history, WorkerPool& blocking,
             const content::ListContentRequest& request)
      : WriteStream(&blocking), store_(store), history_(history), request_(request) {}

 private:
  Result<Step> Next(content::ListContentResponse* response) override {
    if (!std::exchange(begun_, true)) TRY(Begin());
    response->clear_info();
    while (next_ != digests_.end() && response->info_size() < kListBatch) {
      auto info = InfoOf(store_, history_, *next_++);
      // Gone meanwhile.
      if (!info.ok() && info.error().code() == Code::kNotFound) continue;
      if (!info.ok()) return std::move(info).error();
      const auto lookup = [&](const std::vector<std::string>& path) { return Field(*info, path); };
      if (filter_.Matches(lookup)) *response->add_info() = *std::move(info);
    }
    return response->info_size() > 0 ? Step::kMessage : Step::kEnd;
  }

  kiln::Status Begin() {
    TRY_ASSIGN(filter_, Filter::Parse({request_.filters().begin(), request_.filters().end()}));
    TRY_ASSIGN(const std::vector<Digest> stored, store_.ListBlobs());
    digests_.insert(stored.begin(), stored.end());
    for (const history::Blob& blob : history_.ListBlobs()) {
      TRY_ASSIGN(const Digest digest, Digest::Parse(blob.digest));
      digests_.insert(digest);
    }
    next_ = digests_.begin();
    return OkStatus();
  }

  store::Store& store_;
  history::History& history_;
  const content::ListContentRequest request_;
  bool begun_ = false;
  Filter filter_;
  std::set<Digest> digests_;
  std::set<Digest>::iterator next_;
};

class RefusedWrite final
    : public grpc::ServerBidiReactor<content::WriteContentRequest, content::WriteContentResponse> {
 public:
  RefusedWrite() { Finish(rpc::ToGrpc(ReadOnly())); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerUnaryReactor* ContentService::Info(grpc::CallbackServerContext*,
                                               const content::InfoRequest* request,
                                               content::InfoResponse* response) {
  return BlockingCall::Run(
      blocking_, [this, request, response](const CancelToken&) -> kiln::Status {
        TRY_ASSIGN(const Digest digest, Digest::Parse(request->digest()));
        TRY_ASSIGN(*response->mutable_info(), InfoOf(store_, history_, digest));
        return OkStatus();
      });
}

grpc::ServerWriteReactor<content::ReadContentResponse>* ContentService::Read(
    grpc::CallbackServerContext*, const content::ReadContentRequest* request) {
  return BlobStream::Serve(std::make_shared<BlobStream>(store_, history_, blocking_, *request));
}

grpc::ServerWriteReactor<content::ListContentResponse>* ContentService::List(
    grpc::CallbackServerContext*, const content::ListContentRequest* request) {
  return ListStream::Serve(std::make_shared<ListStream>(store_, history_, blocking_, *request));
}

grpc::ServerUnaryReactor* ContentService::Status(grpc::CallbackServerContext* context,
                                                 const content::StatusRequest* request,
                                                 content::StatusResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(NotFound("ref {}: not found", request->ref())));
  return reactor;
}

grpc::ServerUnaryReactor* ContentService::ListStatuses(grpc::CallbackServerContext* context,
                                                       const content::ListStatusesRequest*,
                                                       content::ListStatusesResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* ContentService::Update(grpc::CallbackServerContext* context,
                                                 const content::UpdateRequest*,
                                                 content::UpdateResponse*) {
  return Refuse(context);
}

grpc::ServerUnaryReactor* ContentService::Delete(grpc::CallbackServerContext* context,
                                                 const content::DeleteContentRequest*,
                                                 google::protobuf::Empty*) {
  return Refuse(context);
}

grpc::ServerUnaryReactor* ContentService::Abort(grpc::CallbackServerContext* context,
                                                const content::AbortRequest*,
                                                google::protobuf::Empty*) {
  return Refuse(context);
}

grpc::ServerBidiReactor<content::WriteContentRequest, content::WriteContentResponse>*
ContentService::Write(grpc::CallbackServerContext*) {
  return new RefusedWrite;
}

}  // namespace kiln::control
