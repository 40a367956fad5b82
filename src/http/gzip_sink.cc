#include "http/gzip_sink.h"

#include <zlib.h>

#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"

namespace kiln::http {
namespace {

constexpr int kGzipWindow = 16 + MAX_WBITS;
constexpr size_t kPieceBytes = size_t{64} << 10;

}  // namespace

class GzipSink::Decoder {
 public:
  explicit Decoder(std::string url) : url_(std::move(url)) {}
  ~Decoder() {
    if (begun_) inflateEnd(&stream_);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  Status Put(std::string_view data, ResponseSink& to) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    stream_.avail_in = static_cast<uInt>(data.size());
    while (stream_.avail_in > 0 || more_) TRY(Step(to));
    return OkStatus();
  }

  // Several members after each other are one content; one must be whole, unless nothing came.
  Status Finish() const {
    return inside_ ? Status(Unavailable("{}: the gzip content ends early", url_)) : OkStatus();
  }

 private:
  Status Step(ResponseSink& to) {
    if (!begun_ && inflateInit2(&stream_, kGzipWindow) != Z_OK) {
      return ResourceExhausted("out of memory for unpacking");
    }
    begun_ = inside_ = true;
    stream_.next_out = reinterpret_cast<Bytef*>(piece_.data());
    stream_.avail_out = static_cast<uInt>(piece_.size());
    const int code = inflate(&stream_, Z_NO_FLUSH);
    const size_t got = piece_.size() - stream_.avail_out;
    // A full buffer may leave more in the decoder, with all input taken.
    more_ = code == Z_OK && stream_.avail_out == 0;
    if (got > 0) TRY(to.OnData({piece_.data(), got}));
    if (code == Z_STREAM_END) {
      inside_ = false;
      return inflateReset(&stream_) == Z_OK ? OkStatus() : Status(Internal("inflateReset failed"));
    }
    if (code == Z_OK || (code == Z_BUF_ERROR && stream_.avail_in == 0)) return OkStatus();
    if (code == Z_MEM_ERROR) return ResourceExhausted("out of memory for unpacking");
    return Unavailable("{}: the content is no gzip, as its Content-Encoding says", url_);
  }

  const std::string url_;
  z_stream stream_{};
  bool begun_ = false;
  bool inside_ = false;  // a member has begun and not ended
  bool more_ = false;
  std::array<char, kPieceBytes> piece_{};
};

GzipSink::GzipSink(ResponseSink& inner) : inner_(inner) {}
GzipSink::~GzipSink() = default;

Status GzipSink::OnHeaders(const Response& response) {
  decoder_.reset();
  if (!EqualsIgnoreCase(Trim(response.header("Content-Encoding")), "gzip")) {
    return inner_.OnHeaders(response);
  }
  decoder_ = std::make_unique<Decoder>(RedactUrl(response.url));
  Response unpacked = response;
  RemoveHeader(unpacked.headers, "Content-Encoding");
  RemoveHeader(unpacked.headers, "Content-Length");
  return inner_.OnHeaders(unpacked);
}

Status GzipSink::OnData(std::string_view data) {
  return decoder_ ? decoder_->Put(data, inner_) : inner_.OnData(data);
}

Status GzipSink::Finish() { return decoder_ ? decoder_->Finish() : OkStatus(); }

}  // namespace kiln::http
