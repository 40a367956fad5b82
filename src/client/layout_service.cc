#include "client/layout_service.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/strings.h"
#include "client/made_dirs.h"
#include "oci/layout.h"
#include "rpc/metadata.h"
#include "rpc/status.h"

namespace kiln::client {
namespace {

using namespace containerd::services::content::v1;

constexpr size_t kChunkBytes = 1 << 20;
constexpr std::string_view kPrefix = "oci:";
constexpr std::string_view kOutputStore = "export";

Result<int64_t> SizeOf(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return ErrnoError(errno, "stat blob");
  if (!S_ISREG(st.st_mode)) return FailedPrecondition("blob is not a regular file");
  return st.st_size;
}

using WriteStream = grpc::ServerReaderWriter<WriteContentResponse, WriteContentRequest>;

// One blob on its way into a layout: written beside its place, moved there when it is whole.
class IncomingBlob {
 public:
  IncomingBlob(std::string path, mode_t umask)
      : path_(std::move(path)),
        umask_(umask),
        temporary_(fmt::format("{}.{}.tmp", path_, NewId())) {}
  ~IncomingBlob() {
    if (fd_) ::unlink(temporary_.c_str());
  }
  IncomingBlob(const IncomingBlob&) = delete;
  IncomingBlob& operator=(const IncomingBlob&) = delete;

  kiln::Status Begin() {
    if (fd_) return OkStatus();
    TRY(MakeDirs(DirName(path_), 0777 & ~umask_));
    TRY_ASSIGN(fd_, OpenFile(temporary_, O_WRONLY | O_CREAT | O_EXCL, 0644 & ~umask_));
    return OkStatus();
  }
  kiln::Status Take(const WriteContentRequest& request) {
    TRY(Begin());
    if (request.data().empty()) return OkStatus();
    if (request.offset() != offset_)
      return OutOfRange("the daemon wrote at {} instead of {}", request.offset(), offset_);
    TRY(WriteAll(fd_.get(), request.data()));
    hash_.Update(request.data());
    offset_ += static_cast<int64_t>(request.data().size());
    return OkStatus();
  }
  kiln::Status Commit(const Digest& expected) {
    if (Digest got = hash_.Finish(); got != expected)
      return DataLoss("the daemon sent {} instead of blob {}", got, expected);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
      return ErrnoError(errno, "rename to {}", path_);
    fd_.Reset();
    return OkStatus();
  }
  int64_t offset() const { return offset_; }

 private:
  const std::string path_;
  const mode_t umask_;
  const std::string temporary_;
  Fd fd_;
  Sha256 hash_;
  int64_t offset_ = 0;
};

// Requests are answered one by one; the first names the blob.
kiln::Status ReceiveBlob(const std::string& path, const Digest& expected,
                         WriteContentRequest request, WriteStream* stream, mode_t umask) {
  if (::access(path.c_str(), F_OK) == 0) return AlreadyExists("content {}", expected);
  IncomingBlob blob(path, umask);
  do {
    TRY(blob.Take(request));
    const bool commit = request.action() == COMMIT;
    if (commit) TRY(blob.Commit(expected));
    WriteContentResponse response;
    response.set_action(request.action());
    response.set_offset(blob.offset());
    response.set_total(request.total());
    if (commit) response.set_digest(expected.ToString());
    if (!stream->Write(response)) return Cancelled("the daemon stopped writing");
    if (commit) return OkStatus();
  } while (stream->Read(&request));
  return Cancelled("the daemon did not finish blob {}", expected);
}

}  // namespace

grpc::Status LayoutService::Write(grpc::ServerContext* context, WriteStream* stream) {
  auto serve = [&]() -> kiln::Status {
    if (output_.empty()) return Unimplemented("this content store is read-only");
    WriteContentRequest request;
    if (!stream->Read(&request)) return OkStatus();
    TRY_ASSIGN(auto path, PathOf(*context, request.expected()));
    if (!path.starts_with(output_ + "/")) return PermissionDenied("read-only content store");
    TRY_ASSIGN(auto expected, Digest::Parse(request.expected()));
    return ReceiveBlob(path, expected, std::move(request), stream, umask_);
  };
  kiln::Status done = serve();
  if (!done.ok() && done.error().code() != Code::kAlreadyExists) {
    MutexLock lock(mutex_);
    if (status_.ok()) status_ = done.error();
  }
  return rpc::ToGrpc(done);
}

kiln::Status LayoutService::status() const {
  MutexLock lock(mutex_);
  return status_;
}

Result<std::string> LayoutService::PathOf(const grpc::ServerContext& context,
                                          const std::string& digest) const {
  auto range = context.client_metadata().equal_range(rpc::kStoreIdKey);
  if (range.first == range.second) return InvalidArgument("no content store id in request");
  std::string_view id(range.first->second.data(), range.first->second.size());
  if (id == kOutputStore && !output_.empty()) {
    TRY_ASSIGN(auto parsed, Digest::Parse(digest));
    return output_ + "/" + oci::LayoutBlobPath(parsed);
  }
  auto found = id.starts_with(kPrefix) ? layouts_.find(std::string(id.substr(kPrefix.size())))
                                       : layouts_.end();
  if (found == layouts_.end()) return NotFound("unknown content store {}", Quoted(id));
  TRY_ASSIGN(auto parsed, Digest::Parse(digest));
  return found->second + "/" + oci::LayoutBlobPath(parsed);
}

grpc::Status LayoutService::Info(grpc::ServerContext* context, const InfoRequest* request,
                                 InfoResponse* response) {
  auto serve = [&]() -> kiln::Status {
    TRY_ASSIGN(auto path, PathOf(*context, request->digest()));
    TRY_ASSIGN(auto fd, OpenFile(path, O_RDONLY | O_NONBLOCK));
    TRY_ASSIGN(int64_t size, SizeOf(fd.get()));
    response->mutable_info()->set_digest(request->digest());
    response->mutable_info()->set_size(size);
    return OkStatus();
  };
  return rpc::ToGrpc(serve());
}

grpc::Status LayoutService::Read(grpc::ServerContext* context, const ReadContentRequest* request,
                                 grpc::ServerWriter<ReadContentResponse>* writer) {
  auto serve = [&]() -> kiln::Status {
    TRY_ASSIGN(auto path, PathOf(*context, request->digest()));
    TRY_ASSIGN(auto fd, OpenFile(path, O_RDONLY | O_NONBLOCK));
    TRY_ASSIGN(int64_t size, SizeOf(fd.get()));
    int64_t at = request->offset();
    int64_t end = request->size() > 0 ? std::min(size, at + std::min(size, request->size())) : size;
    if (at < 0 || at > size) return OutOfRange("offset {} is beyond the blob's {} bytes", at, size);
    if (::lseek(fd.get(), at, SEEK_SET) < 0) return ErrnoError(errno, "seek in blob");
    std::string buffer(kChunkBytes, '\0');
    while (at < end) {
      size_t want = std::min(buffer.size(), static_cast<size_t>(end - at));
      TRY_ASSIGN(size_t count, ReadSome(fd.get(), buffer.data(), want));
      if (count == 0) return DataLoss("blob {} became shorter", request->digest());
      ReadContentResponse response;
      response.set_offset(at);
      response.set_data(buffer.data(), count);
      if (!writer->Write(response)) return Cancelled("the daemon stopped reading");
      at += static_cast<int64_t>(count);
    }
    return OkStatus();
  };
  return rpc::ToGrpc(serve());
}

}  // namespace kiln::client
