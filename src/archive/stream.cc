#include "archive/stream.h"

#include <algorithm>
#include <cstring>

#include "base/fd.h"

namespace kiln::archive {
namespace {
constexpr size_t kCopyBytes = 256 << 10;
}

Status FdSink::Write(std::string_view data) { return WriteAll(fd_, data); }

Result<size_t> FdSource::Read(char* buffer, size_t size) { return ReadSome(fd_, buffer, size); }

Result<size_t> StringSource::Read(char* buffer, size_t size) {
  size = std::min(size, rest_.size());
  std::memcpy(buffer, rest_.data(), size);
  rest_.remove_prefix(size);
  return size;
}

Status HashingSink::Write(std::string_view data) {
  hash_.Update(data);
  bytes_ += static_cast<int64_t>(data.size());
  return next_ != nullptr ? next_->Write(data) : OkStatus();
}

Result<size_t> HashingSource::Read(char* buffer, size_t size) {
  TRY_ASSIGN(size_t count, from_.Read(buffer, size));
  hash_.Update(buffer, count);
  bytes_ += static_cast<int64_t>(count);
  return count;
}

Status Drain(ByteSource& source) {
  std::string buffer(kCopyBytes, '\0');
  for (;;) {
    TRY_ASSIGN(size_t count, source.Read(buffer.data(), buffer.size()));
    if (count == 0) return OkStatus();
  }
}

Result<int64_t> CopyAll(ByteSource& source, ByteSink& sink) {
  std::string buffer(kCopyBytes, '\0');
  int64_t total = 0;
  for (;;) {
    TRY_ASSIGN(size_t count, source.Read(buffer.data(), buffer.size()));
    if (count == 0) return total;
    TRY(sink.Write(std::string_view(buffer).substr(0, count)));
    total += static_cast<int64_t>(count);
  }
}

}  // namespace kiln::archive
