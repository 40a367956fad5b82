#include "session/files.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>
#include <moby/filesync/v1/filesync.grpc.pb.h>

#include <algorithm>

#include "rpc/metadata.h"
#include "rpc/tunnel.h"
#include "session/connection.h"

namespace kiln::session {
namespace {

using filesync::Packet;
using moby::filesync::v1::BytesMessage;

constexpr char kFileSyncMethod[] = "/moby.filesync.v1.FileSync/DiffCopy";
constexpr char kFileSendMethod[] = "/moby.filesync.v1.FileSend/DiffCopy";

// A bidirectional call of `method` whose messages are `Message`, whatever the service declares:
// directory exports carry Packets through a method declared for BytesMessages.
template <typename Message>
class Stream {
 public:
  Stream(const progress::Activity& activity, const Session& session, const char* method,
         const rpc::MetadataList& metadata)
      : call_(activity, session), channel_(session.connection().channel) {
    for (const auto& [key, value] : metadata) call_.context().AddMetadata(key, value);
    const grpc::internal::RpcMethod rpc_method(method, grpc::internal::RpcMethod::BIDI_STREAMING,
                                               channel_);
    stream_.reset(
        grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
            channel_.get(), rpc_method, &call_.context()));
  }
  ~Stream() {
    if (finished_) return;
    call_.context().TryCancel();
    stream_->Finish();
  }

  // Decodes by itself: to gRPC, a message that is none is the end of the reading, and the call goes
  // on for as long as the client likes.
  bool Read(Message* message) {
    grpc::ByteBuffer bytes;
    if (!stream_->Read(&bytes)) return false;
    malformed_ = !grpc::SerializationTraits<Message>::Deserialize(&bytes, message).ok();
    if (malformed_) Cancel();
    return !malformed_;
  }
  bool Write(const Message& message, bool more) {
    grpc::ByteBuffer bytes;
    bool own = false;
    if (!grpc::SerializationTraits<Message>::Serialize(message, &bytes, &own).ok()) return false;
    grpc::WriteOptions options;
    if (more) options.set_buffer_hint();
    return stream_->Write(bytes, options);
  }
  void WritesDone() { stream_->WritesDone(); }
  void Cancel() { call_.context().TryCancel(); }
  Status Finish() {
    finished_ = true;
    Status end = call_.End(stream_->Finish());
    if (malformed_) return InvalidArgument("the client sent a malformed message");
    return end;
  }

 private:
  Call call_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream_;
  bool finished_ = false;
  bool malformed_ = false;
};

class WirePackets final : public filesync::PacketStream {
 public:
  WirePackets(const progress::Activity& activity, const Session& session, const char* method,
              const rpc::MetadataList& metadata)
      : stream_(activity, session, method, metadata) {}

  bool Read(Packet* packet) override { return stream_.Read(packet); }
  bool Write(const Packet& packet, bool more) override { return stream_.Write(packet, more); }
  void CloseWrites() override { stream_.WritesDone(); }
  void Cancel() override { stream_.Cancel(); }
  Status Finish() override { return stream_.Finish(); }

 private:
  Stream<Packet> stream_;
};

class WireFileStream final : public FileStream {
 public:
  WireFileStream(const progress::Activity& activity, const Session& session,
                 const rpc::MetadataList& metadata)
      : stream_(activity, session, kFileSendMethod, metadata) {}

  Status Write(std::string_view data) override {
    while (!data.empty() && !done_) {
      const size_t room = rpc::kTunnelMessageBytes - buffer_.data().size();
      const std::string_view part = data.substr(0, room);
      buffer_.mutable_data()->append(part);
      data.remove_prefix(part.size());
      if (buffer_.data().size() == rpc::kTunnelMessageBytes) TRY(Flush());
    }
    return OkStatus();
  }

  Status Finish() override {
    if (!done_ && !buffer_.data().empty()) TRY(Flush());
    if (done_) return OkStatus();
    stream_.WritesDone();
    return End();
  }

 private:
  Status Flush() {
    const bool written = stream_.Write(buffer_, false);
    buffer_.mutable_data()->clear();
    if (written) return OkStatus();
    Status end = End();
    if (end.ok() && !done_) return Unavailable("the client closed the stream early");
    return end;
  }

  Status End() {
    BytesMessage ignored;
    while (stream_.Read(&ignored)) {
    }
    Status status = stream_.Finish();
    if (!status.ok() && status.error().code() != Code::kAlreadyExists) return status;
    done_ = true;
    return OkStatus();
  }

  Stream<BytesMessage> stream_;
  BytesMessage buffer_;
  bool done_ = false;
};

Status RequireFileSend(const Session& session) {
  if (session.Supports(kFileSendMethod)) return OkStatus();
  return Unimplemented("method /moby.filesync.v1.FileSend/diffcopy not supported by the client");
}

}  // namespace

Result<SessionPtr> FindTreeSession(Manager& manager, const progress::Activity& activity,
                                   const std::string& pinned) {
  std::vector<std::string> ids;
  if (!pinned.empty()) ids.push_back(pinned);
  for (std::string& id : activity.sessions->SessionIds()) {
    if (id != pinned) ids.push_back(std::move(id));
  }
  if (ids.empty()) return FailedPrecondition("could not access local files without session");
  Error last = Error(Code::kUnknown, "no local sources enabled");
  for (const std::string& id : ids) {
    Result<SessionPtr> session = manager.Get(activity, id);
    TRY(activity.Check());
    if (!session.ok()) {
      last = std::move(session).error();
    } else if ((*session)->Supports(kFileSyncMethod) || manager.SharedTrees(id) != nullptr) {
      return session;
    } else {
      last = Error(Code::kUnknown, "no local sources enabled");
    }
  }
  return last;
}

Result<OpenedTree> OpenTree(Manager& manager, const progress::Activity& activity,
                            const SessionPtr& session, const filesync::TreeRequest& request) {
  OpenedTree opened;
  opened.session = session;
  if (filesync::TreeSource* trees = manager.SharedTrees(session->id())) {
    TRY_ASSIGN(opened.stream, trees->OpenTree(activity, request));
    return opened;
  }
  rpc::MetadataList metadata;
  rpc::AppendEncoded(rpc::kDirNameKey, {request.name}, &metadata);
  rpc::AppendEncoded(rpc::kIncludeKey, request.include, &metadata);
  rpc::AppendEncoded(rpc::kExcludeKey, request.exclude, &metadata);
  rpc::AppendEncoded(rpc::kFollowKey, request.follow_paths, &metadata);
  opened.stream = std::make_unique<WirePackets>(activity, *session, kFileSyncMethod, metadata);
  return opened;
}

bool IsNotShared(const Error& error) {
  // "no local sources enabled": it shares no folder at all.
  const std::string& said = error.message();
  return said.find("no access allowed to dir") != std::string::npos ||
         said.find("no local sources enabled") != std::string::npos;
}

Result<filesync::SendReport> SendTree(const progress::Activity& activity, Session& session,
                                      int exporter_id, bool multi_platform, filesync::Tree& tree,
                                      const filesync::SendOptions& options) {
  TRY(RequireFileSend(session));
  rpc::MetadataList metadata = {{rpc::kExporterIdKey, std::to_string(exporter_id)}};
  if (multi_platform) metadata.emplace_back(rpc::kMultiPlatformKey, "1");
  WirePackets stream(activity, session, kFileSendMethod, metadata);
  Result<filesync::SendReport> report = filesync::SendTree(activity, stream, tree, options);
  // Where the client refused, its status says more than the broken stream.
  stream.CloseWrites();
  Packet rest;
  while (stream.Read(&rest)) {
  }
  Status end = stream.Finish();
  if (!report.ok() && report.error().code() != Code::kUnavailable) return report;
  if (!end.ok()) return std::move(end).error();
  return report;
}

Result<std::unique_ptr<FileStream>> OpenFileStream(
    const progress::Activity& activity, Session& session, int exporter_id,
    const std::map<std::string, std::string>& metadata) {
  TRY(RequireFileSend(session));
  rpc::MetadataList list = {{rpc::kExporterIdKey, std::to_string(exporter_id)}};
  for (const auto& [key, value] : metadata)
    list.emplace_back(rpc::kExporterMetadataPrefix + key, value);
  return std::unique_ptr<FileStream>(new WireFileStream(activity, session, list));
}

}  // namespace kiln::session
