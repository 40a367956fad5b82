#include "client/layout_service.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/strings.h"
#include "oci/layout.h"
#include "rpc/metadata.h"
#include "rpc/status.h"

namespace kiln::client {
namespace {

using namespace containerd::services::content::v1;

constexpr size_t kChunkBytes = 1 << 20;
constexpr std::string_view kPrefix = "oci:";

Result<int64_t> SizeOf(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return ErrnoError(errno, "stat blob");
  if (!S_ISREG(st.st_mode)) return FailedPrecondition("blob is not a regular file");
  return st.st_size;
}

}  // namespace

Result<std::string> LayoutService::PathOf(const grpc::ServerContext& context,
                                          const std::string& digest) const {
  auto range = context.client_metadata().equal_range(rpc::kStoreIdKey);
  if (range.first == range.second) return InvalidArgument("no content store id in request");
  std::string_view id(range.first->second.data(), range.first->second.size());
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
