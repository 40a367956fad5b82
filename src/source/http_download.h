#pragma once

// Inside source only.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/client.h"
#include "http/message.h"
#include "llb/source_id.h"
#include "source/http_answer.h"
#include "source/http_file.h"
#include "source/sources.h"
#include "store/ref.h"

namespace kiln::source {

// An earlier download of the same URL.
struct EarlierDownload {
  HttpFile file;
  std::string etag;
};

// Gets one URL into the store. What earlier builds got is kept there with the server's validators
// and used again when the server says that it is still the same.
class HttpDownload {
 public:
  HttpDownload(const Services& services, const llb::HttpSource& spec)
      : services_(services), spec_(spec) {}

  // What the server has now, or had when this build asked for the first time.
  Result<HttpFile> Current(const progress::Activity& activity) const;
  // What has the checksum of `spec`: known, or downloaded.
  Result<HttpFile> Pinned(const progress::Activity& activity) const;

 private:
  using Known = std::vector<EarlierDownload>;

  Result<HttpFile> Ask(const progress::Activity& activity) const;
  Result<Known> Earlier() const;
  Result<std::string> Authorization(const progress::Activity& activity) const;
  Result<std::string> SecretHeader(const progress::Activity& activity) const;
  Result<http::Request> NewRequest(const progress::Activity& activity) const;
  std::optional<HttpFile> StillValid(http::Request request, const Known& known) const;
  Result<http::Response> Receive(const progress::Activity& activity, const http::Request& request,
                                 http::ResponseSink& sink) const;
  Result<HttpFile> Get(const progress::Activity& activity, const http::Request& request,
                       const Known& known) const;
  Result<HttpFile> FromSession(const progress::Activity& activity) const;
  bool is_upload() const;
  // What the store finds this URL's downloads by.
  std::string UrlKey() const;

  const Services& services_;
  const llb::HttpSource& spec_;
};

}  // namespace kiln::source
