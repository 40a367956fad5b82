#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace kiln::archive {

// Where bytes go. One thread at a time.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Status Write(std::string_view data) = 0;
};

// Where bytes come from. One thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // 1 to `size` bytes; 0 at the end. Blocks.
  virtual Result<size_t> Read(char* buffer, size_t size) = 0;
};

// A descriptor that somebody else owns.
class FdSink final : public ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Status Write(std::string_view data) override;

 private:
  int fd_;
};

class FdSource final : public ByteSource {
 public:
  explicit FdSource(int fd) : fd_(fd) {}
  Result<size_t> Read(char* buffer, size_t size) override;

 private:
  int fd_;
};

class StringSink final : public ByteSink {
 public:
  Status Write(std::string_view data) override {
    text_.append(data);
    return OkStatus();
  }
  std::string& text() { return text_; }

 private:
  std::string text_;
};

// Reads a text that outlives it.
class StringSource final : public ByteSource {
 public:
  explicit StringSource(std::string_view text) : rest_(text) {}
  Result<size_t> Read(char* buffer, size_t size) override;

 private:
  std::string_view rest_;
};

// Hashes and counts what passes through to `next` (or nowhere if null).
class HashingSink final : public ByteSink {
 public:
  explicit HashingSink(ByteSink* next) : next_(next) {}
  Status Write(std::string_view data) override;
  // Once, at the end.
  Digest Finish() { return hash_.Finish(); }
  int64_t bytes() const { return bytes_; }

 private:
  ByteSink* next_;
  Sha256 hash_;
  int64_t bytes_ = 0;
};

class HashingSource final : public ByteSource {
 public:
  explicit HashingSource(ByteSource& from) : from_(from) {}
  Result<size_t> Read(char* buffer, size_t size) override;
  Digest Finish() { return hash_.Finish(); }
  int64_t bytes() const { return bytes_; }

 private:
  ByteSource& from_;
  Sha256 hash_;
  int64_t bytes_ = 0;
};

// Reads to the end and drops it; an error of the source passes through.
Status Drain(ByteSource& source);
// Everything to `sink`; the bytes copied.
Result<int64_t> CopyAll(ByteSource& source, ByteSink& sink);

}  // namespace kiln::archive
