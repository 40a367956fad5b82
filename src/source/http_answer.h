#pragma once

// Inside source only: what the headers of a download say.

#include <string>

#include "http/message.h"
#include "llb/source_id.h"

namespace kiln::source {

// The name a file gets: what was asked for, else Content-Disposition, else the end of the URL's
// path, else "download". One plain component. `response` may be null.
std::string HttpFilename(const llb::HttpSource& spec, const http::Response* response);

// The ETag without the mark of a weak one; "" if there is none.
std::string EtagOf(const http::Response& response);

}  // namespace kiln::source
