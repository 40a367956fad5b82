#include "session/content.h"

#include <containerd/services/content/v1/content.grpc.pb.h>
#include <moby/upload/v1/upload.grpc.pb.h>

#include "rpc/metadata.h"
#include "session/connection.h"

namespace kiln::session {
namespace {

namespace pb = containerd::services::content::v1;

constexpr size_t kWriteBytes = 1 << 20;

// One Write stream: every request is answered before the next is sent.
class ContentWriter {
 public:
  ContentWriter(const progress::Activity& activity, Session& session, const std::string& store)
      : call_(activity, session), stub_(pb::Content::NewStub(session.connection().channel)) {
    call_.context().AddMetadata(rpc::kStoreIdKey, store);
    stream_ = stub_->Write(call_.get());
  }
  ~ContentWriter() {
    if (finished_) return;
    call_.context().TryCancel();
    stream_->Finish();
  }

  // False: the store has the blob.
  Result<bool> Exchange(const pb::WriteContentRequest& request,
                        pb::WriteContentResponse* response) {
    if (stream_->Write(request) && stream_->Read(response)) return true;
    finished_ = true;
    Status end = call_.End(stream_->Finish());
    if (!end.ok() && end.error().code() == Code::kAlreadyExists) return false;
    if (!end.ok()) return std::move(end).error();
    return Unavailable("the client closed its content store early");
  }

  Status Finish() {
    stream_->WritesDone();
    pb::WriteContentResponse ignored;
    while (stream_->Read(&ignored)) {
    }
    finished_ = true;
    Status end = call_.End(stream_->Finish());
    if (!end.ok() && end.error().code() != Code::kAlreadyExists) return end;
    return OkStatus();
  }

 private:
  Call call_;
  std::unique_ptr<pb::Content::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<pb::WriteContentRequest, pb::WriteContentResponse>>
      stream_;
  bool finished_ = false;
};

}  // namespace

Result<ContentInfo> StatContent(const progress::Activity& activity, Session& session,
                                const std::string& store, const Digest& digest) {
  Call call(activity, session);
  call.context().AddMetadata(rpc::kStoreIdKey, store);
  pb::InfoRequest request;
  pb::InfoResponse response;
  request.set_digest(digest.ToString());
  TRY(call.End(
      pb::Content::NewStub(session.connection().channel)->Info(call.get(), request, &response)));
  ContentInfo info;
  info.digest = digest;
  if (response.info().size() < 0)
    return InvalidArgument("the client says blob {} has a negative size", digest);
  info.size = response.info().size();
  info.labels.insert(response.info().labels().begin(), response.info().labels().end());
  return info;
}

Status ReadContent(const progress::Activity& activity, Session& session, const std::string& store,
                   const Digest& digest, int64_t offset, archive::ByteSink& sink) {
  Call call(activity, session);
  call.context().AddMetadata(rpc::kStoreIdKey, store);
  pb::ReadContentRequest request;
  request.set_digest(digest.ToString());
  request.set_offset(offset);
  const auto stub = pb::Content::NewStub(session.connection().channel);
  const auto reader = stub->Read(call.get(), request);
  pb::ReadContentResponse response;
  Status sunk;
  while (sunk.ok() && reader->Read(&response)) {
    if (response.offset() != offset)
      sunk = DataLoss("the client sent blob {} out of order", digest);
    if (sunk.ok()) sunk = sink.Write(response.data());
    offset += static_cast<int64_t>(response.data().size());
  }
  if (!sunk.ok()) call.context().TryCancel();
  const grpc::Status end = reader->Finish();
  TRY(std::move(sunk));
  return call.End(end);
}

Status WriteContent(const progress::Activity& activity, Session& session, const std::string& store,
                    const Digest& digest, int64_t size, archive::ByteSource& source) {
  ContentWriter writer(activity, session, store);
  pb::WriteContentRequest request;
  pb::WriteContentResponse response;
  request.set_action(pb::STAT);
  request.set_ref("kiln-" + digest.ToString());
  request.set_total(size);
  request.set_expected(digest.ToString());
  TRY_ASSIGN(bool wanted, writer.Exchange(request, &response));
  if (!wanted) return OkStatus();
  request.set_action(pb::WRITE);
  int64_t offset = 0;
  while (true) {
    std::string& data = *request.mutable_data();
    data.resize(kWriteBytes);
    TRY_ASSIGN(const size_t n, source.Read(data.data(), data.size()));
    data.resize(n);
    if (n == 0) break;
    request.set_offset(offset);
    offset += static_cast<int64_t>(n);
    TRY_ASSIGN(wanted, writer.Exchange(request, &response));
    if (!wanted) return OkStatus();
  }
  if (offset != size) return DataLoss("blob {} has {} bytes instead of {}", digest, offset, size);
  request.set_action(pb::COMMIT);
  request.set_offset(offset);
  TRY_ASSIGN(wanted, writer.Exchange(request, &response));
  if (!wanted) return OkStatus();
  return writer.Finish();
}

Status PullUpload(const progress::Activity& activity, Session& session, const std::string& path,
                  const std::string& host, archive::ByteSink& sink) {
  Call call(activity, session);
  call.context().AddMetadata(rpc::kUrlPathKey, path);
  call.context().AddMetadata(rpc::kUrlHostKey, host);
  const auto stub = moby::upload::v1::Upload::NewStub(session.connection().channel);
  const auto stream = stub->Pull(call.get());
  moby::upload::v1::BytesMessage message;
  Status sunk;
  while (sunk.ok() && stream->Read(&message)) sunk = sink.Write(message.data());
  if (!sunk.ok()) call.context().TryCancel();
  stream->WritesDone();
  const grpc::Status end = stream->Finish();
  TRY(std::move(sunk));
  return call.End(end);
}

}  // namespace kiln::session
