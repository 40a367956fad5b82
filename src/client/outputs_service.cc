#include <fcntl.h>
#include <grpcpp/impl/codegen/method_handler.h>
#include <moby/filesync/v1/filesync.pb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <unordered_set>

#include "base/fd.h"
#include "base/ids.h"
#include "base/strings.h"
#include "client/made_dirs.h"
#include "client/services.h"
#include "filesync/destination.h"
#include "filesync/receiver.h"
#include "rpc/metadata.h"
#include "rpc/status.h"

namespace kiln::client {
namespace {

using Stream = grpc::ServerReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

template <typename Message>
bool Parse(grpc::ByteBuffer* bytes, Message* message) {
  return grpc::SerializationTraits<Message>::Deserialize(bytes, message).ok();
}

class BufferPackets final : public filesync::PacketStream {
 public:
  explicit BufferPackets(Stream* stream) : stream_(stream) {}
  bool Read(filesync::Packet* packet) override {
    grpc::ByteBuffer bytes;
    return stream_->Read(&bytes) && Parse(&bytes, packet);
  }
  bool Write(const filesync::Packet& packet, bool more) override {
    grpc::ByteBuffer bytes;
    bool own = false;
    if (!grpc::SerializationTraits<filesync::Packet>::Serialize(packet, &bytes, &own).ok())
      return false;
    grpc::WriteOptions options;
    if (more) options.set_buffer_hint();
    return stream_->Write(bytes, options);
  }
  void CloseWrites() override {}
  void Cancel() override {}
  Status Finish() override { return OkStatus(); }

 private:
  Stream* stream_;
};

// What the daemon did not list goes, but for what another export into the folder is making. Links
// are not followed.
Status RemoveOthers(const std::string& dest, const std::vector<filesync::Entry>& entries) {
  std::unordered_set<std::string> listed;
  for (const filesync::Entry& entry : entries) listed.insert(entry.path);
  std::error_code error;
  std::vector<std::filesystem::path> others;
  auto it = std::filesystem::recursive_directory_iterator(dest, error);
  for (; !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    if (listed.contains(it->path().lexically_relative(dest).string())) continue;
    if (filesync::IsTemporaryName(it->path().filename().string())) continue;
    others.push_back(it->path());
    it.disable_recursion_pending();
  }
  for (const auto& path : others) {
    if (!error) std::filesystem::remove_all(path, error);
  }
  if (error)
    return Unknown("removing what is not in the result from {}: {}", dest, error.message());
  return OkStatus();
}

Status ReceiveFolder(const progress::Activity& activity, const Output& output, Stream* stream,
                     bool all_platforms, mode_t umask) {
  const std::string& dest = output.dest;
  const auto mode = output.attrs.find("mode");
  const bool deletes = mode != output.attrs.end() && mode->second == "delete";
  if (deletes && !all_platforms)
    return FailedPrecondition("mode=delete is not served by this daemon");
  TRY(MakeDirs(dest, 0777 & ~umask));
  TRY_ASSIGN(const Fd root, OpenFile(dest, O_RDONLY | O_DIRECTORY));
  BufferPackets packets(stream);
  filesync::ReceiveOptions options;
  options.merge = true;
  options.map_owner = [uid = geteuid(), gid = getegid()](filesync::Entry& entry) {
    entry.uid = uid;
    entry.gid = gid;
    return OkStatus();
  };
  const auto received = filesync::ReceiveTree(activity, packets, root.get(), std::move(options));
  if (!received.ok()) return received.error();
  return deletes ? RemoveOthers(dest, received->entries) : OkStatus();
}

Status ReceiveBytes(archive::ByteSink& sink, Stream* stream) {
  grpc::ByteBuffer bytes;
  moby::filesync::v1::BytesMessage message;
  while (stream->Read(&bytes)) {
    if (!Parse(&bytes, &message)) return InvalidArgument("the daemon sent no bytes message");
    TRY(sink.Write(message.data()));
  }
  return OkStatus();
}

Status ReceiveBytes(int fd, Stream* stream) {
  archive::FdSink sink(fd);
  return ReceiveBytes(sink, stream);
}

Status ReceiveInto(OutputSink& sink, Stream* stream, const grpc::ServerContext& context) {
  TRY(ReceiveBytes(sink, stream));
  if (context.IsCancelled()) return Cancelled("context canceled");
  return sink.Finish();
}

Status ReceiveFile(const std::string& dest, Stream* stream, const grpc::ServerContext& context,
                   mode_t umask) {
  if (dest == "-") return ReceiveBytes(STDOUT_FILENO, stream);
  TRY(MakeDirs(DirName(dest), 0777 & ~umask));
  struct stat info{};
  if (stat(dest.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode)) return InvalidArgument("destination {} is a directory", dest);
    TRY_ASSIGN(const Fd fd, OpenFile(dest, O_WRONLY));  // a pipe or device is written to as it is
    return ReceiveBytes(fd.get(), stream);
  }
  const std::string temporary = fmt::format("{}.{}.tmp", dest, NewId());
  TRY_ASSIGN(Fd fd, OpenFile(temporary, O_WRONLY | O_CREAT | O_EXCL, 0666 & ~umask));
  Status received = ReceiveBytes(fd.get(), stream);
  if (received.ok() && context.IsCancelled()) received = Cancelled("context canceled");
  fd.Reset();
  if (received.ok() && rename(temporary.c_str(), dest.c_str()) != 0)
    received = ErrnoError(errno, "rename to {}", dest);
  if (!received.ok()) unlink(temporary.c_str());
  return received;
}

}  // namespace

OutputsService::OutputsService(const std::vector<Output>& outputs,
                               const progress::Activity& activity, mode_t umask)
    : outputs_(outputs), activity_(activity), umask_(umask) {
  AddMethod(new grpc::internal::RpcServiceMethod(
      "/moby.filesync.v1.FileSend/DiffCopy", grpc::internal::RpcMethod::BIDI_STREAMING,
      new grpc::internal::BidiStreamingHandler<OutputsService, grpc::ByteBuffer, grpc::ByteBuffer>(
          [](OutputsService* self, grpc::ServerContext* context, Stream* stream) {
            return self->DiffCopy(context, stream);
          },
          this)));
}

grpc::Status OutputsService::DiffCopy(grpc::ServerContext* context, Stream* stream) {
  const auto id =
      ParseUint(rpc::MetadataValue(context->client_metadata(), rpc::kExporterIdKey).value_or("0"));
  const size_t index = id.value_or(0);
  if (index >= outputs_.size() || !outputs_[index].IsStream()) {
    return rpc::ToGrpc(NotFound("exporter {} not found", index));
  }
  const Output& output = outputs_[index];
  const bool all_platforms =
      rpc::MetadataValue(context->client_metadata(), rpc::kMultiPlatformKey).has_value();
  stream->SendInitialMetadata();
  Status done = output.sink ? ReceiveInto(*output.sink, stream, *context)
                : output.type == "local"
                    ? ReceiveFolder(activity_, output, stream, all_platforms, umask_)
                    : ReceiveFile(output.dest, stream, *context, umask_);
  if (!done.ok()) {
    MutexLock lock(mutex_);
    if (status_.ok()) status_ = done.error();
  }
  return rpc::ToGrpc(done);
}

Status OutputsService::status() const {
  MutexLock lock(mutex_);
  return status_;
}

}  // namespace kiln::client
