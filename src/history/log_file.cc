#include "history/log_file.h"

#include <fcntl.h>
#include <moby/buildkit/v1/control.pb.h>

namespace kiln::history {
namespace {

constexpr uint32_t kMaxFrameBytes = 64 << 20;

}  // namespace

Result<LogWriter> LogWriter::Create(const std::string& path) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  return LogWriter(std::move(fd));
}

Status LogWriter::Append(const moby::buildkit::v1::StatusResponse& batch) {
  std::string frame(4, '\0');
  batch.AppendToString(&frame);
  const auto size = static_cast<uint32_t>(frame.size() - 4);
  for (size_t i = 0; i < 4; ++i) frame[i] = static_cast<char>(size >> (8 * i));
  TRY(WriteAll(fd_.get(), frame));
  hash_.Update(frame);
  size_ += static_cast<int64_t>(frame.size());
  return OkStatus();
}

Result<LogReader> LogReader::Open(const std::string& path) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_RDONLY));
  return LogReader(std::move(fd));
}

Result<bool> LogReader::ReadExactly(std::string* bytes) {
  size_t have = 0;
  while (have < bytes->size()) {
    TRY_ASSIGN(const size_t n, ReadSome(fd_.get(), bytes->data() + have, bytes->size() - have));
    if (n == 0) return false;
    have += n;
  }
  return true;
}

Result<bool> LogReader::Next(moby::buildkit::v1::StatusResponse* batch) {
  std::string head(4, '\0');
  TRY_ASSIGN(const bool more, ReadExactly(&head));
  if (!more) return false;
  uint32_t size = 0;
  for (size_t i = 0; i < 4; ++i) size |= uint32_t{static_cast<uint8_t>(head[i])} << (8 * i);
  if (size > kMaxFrameBytes) return DataLoss("the log is damaged");
  std::string body(size, '\0');
  TRY_ASSIGN(const bool whole, ReadExactly(&body));
  if (!whole) return false;
  if (!batch->ParseFromString(body)) return DataLoss("the log is damaged");
  return true;
}

}  // namespace kiln::history
