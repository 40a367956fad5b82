#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "client/build.h"
#include "client/folder_trees.h"

namespace kiln::client {

// The session of one build: serves what the request shares over a tunnel to the daemon. Ends when
// destroyed.
class SessionServer {
 public:
  // `request` and `connection` outlive the session. Fails if what is shared cannot be read.
  static Result<std::unique_ptr<SessionServer>> Start(const Connection& connection,
                                                      const BuildRequest& request,
                                                      const progress::Activity& activity);
  virtual ~SessionServer() = default;

  virtual const std::string& id() const = 0;
  // The first error of writing an output, which the daemon may have reported in other words.
  virtual Status output_status() const = 0;
};

}  // namespace kiln::client
