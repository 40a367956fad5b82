#include "archive/filter.h"

#include <archive.h>
#include <archive_entry.h>

namespace kiln::archive {
namespace {

constexpr size_t kBlock = 64 << 10;

class FilteredSource final : public ByteSource {
 public:
  FilteredSource() : reader_(archive_read_new()) {}
  ~FilteredSource() override { archive_read_free(reader_); }
  FilteredSource(const FilteredSource&) = delete;
  FilteredSource& operator=(const FilteredSource&) = delete;

  Status Open(int fd) {
    archive_read_support_filter_bzip2(reader_);
    archive_read_support_filter_xz(reader_);
    archive_read_support_format_raw(reader_);
    archive_read_support_format_empty(reader_);
    if (archive_read_open_fd(reader_, fd, kBlock) != ARCHIVE_OK) return Failed();
    archive_entry* entry = nullptr;
    int outcome = archive_read_next_header(reader_, &entry);
    if (outcome == ARCHIVE_EOF) {
      at_end_ = true;
      return OkStatus();
    }
    return outcome < ARCHIVE_WARN ? Failed() : OkStatus();
  }

  Result<size_t> Read(char* buffer, size_t size) override {
    if (at_end_) return size_t{0};
    la_ssize_t count = archive_read_data(reader_, buffer, size);
    if (count < 0) return Failed().error();
    at_end_ = count == 0;
    return static_cast<size_t>(count);
  }

 private:
  Status Failed() {
    const char* text = archive_error_string(reader_);
    return DataLoss("decompressing: {}", text != nullptr ? text : "damaged data");
  }

  ::archive* reader_;
  bool at_end_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> OpenFiltered(int fd) {
  auto source = std::make_unique<FilteredSource>();
  TRY(source->Open(fd));
  return std::unique_ptr<ByteSource>(std::move(source));
}

}  // namespace kiln::archive
