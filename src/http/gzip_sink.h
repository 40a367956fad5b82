#pragma once

#include <memory>
#include <string_view>

#include "http/client.h"

namespace kiln::http {

// What a request says that is answered into a GzipSink.
inline constexpr std::string_view kAcceptGzip = "gzip";

// Undoes `Content-Encoding: gzip`: the inner sink sees the content, and an answer without the
// headers that are about the packed form. Other codings are passed on as they are. One request at a
// time; a repetition starts over.
class GzipSink final : public ResponseSink {
 public:
  explicit GzipSink(ResponseSink& inner);
  ~GzipSink() override;

  Status OnHeaders(const Response& response) override;
  // Unavailable for what is not gzip; the inner sink sees a packed megabyte in pieces.
  Status OnData(std::string_view data) override;
  // After the last byte: an error if the content is not whole.
  Status Finish();

 private:
  class Decoder;

  ResponseSink& inner_;
  std::unique_ptr<Decoder> decoder_;  // null: nothing to undo
};

}  // namespace kiln::http
