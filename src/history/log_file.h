#pragma once

#include <string>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"

namespace moby::buildkit::v1 {
class StatusResponse;
}

namespace kiln::history {

// A build's progress on disk (application/vnd.buildkit.status.v0): frames, each a little-endian
// uint32 length and a serialized StatusResponse of that many bytes.
class LogWriter {
 public:
  static Result<LogWriter> Create(const std::string& path);
  Status Append(const moby::buildkit::v1::StatusResponse& batch);
  int64_t size() const { return size_; }
  // Of everything appended; once.
  Digest digest() { return hash_.Finish(); }

 private:
  explicit LogWriter(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
  int64_t size_ = 0;
  Sha256 hash_;
};

class LogReader {
 public:
  static Result<LogReader> Open(const std::string& path);
  // The next frame; false at the end. A frame that was not written to its end is the end.
  Result<bool> Next(moby::buildkit::v1::StatusResponse* batch);

 private:
  explicit LogReader(Fd fd) : fd_(std::move(fd)) {}
  Result<bool> ReadExactly(std::string* bytes);
  Fd fd_;
};

}  // namespace kiln::history
