#include "exporter/blob_body.h"

#include <unistd.h>

namespace kiln::exporter {

Result<size_t> BlobBody::Read(char* buffer, size_t size) {
  if (!fd_) {
    TRY_ASSIGN(blob_, store_.EnsureBlob(activity_, layer_));
    TRY_ASSIGN(fd_, blob_->Open());
  }
  return ReadSome(fd_.get(), buffer, size);
}

Status BlobBody::Rewind() {
  if (fd_ && ::lseek(fd_.get(), 0, SEEK_SET) != 0)
    return ErrnoError(errno, "rewind {}", layer_.descriptor.digest);
  return OkStatus();
}

}  // namespace kiln::exporter
