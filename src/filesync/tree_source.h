#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "filesync/packet_stream.h"
#include "progress/activity.h"

namespace kiln::filesync {

// What is wanted of a client's folder. Filtering is done by the side that has it.
struct TreeRequest {
  std::string name;  // "context", "dockerfile", …
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::vector<std::string> follow_paths;
};

// A client's folders as the engine sees them: implemented by `session` over the wire, and by
// `client` over the folders themselves when the engine runs inside it. Safe from any thread.
class TreeSource {
 public:
  virtual ~TreeSource() = default;
  // A stream on which the other side acts as sender. NotFound: no folder of that name is shared.
  // The stream is cancelled along with the activity.
  virtual Result<std::unique_ptr<PacketStream>> OpenTree(const progress::Activity& activity,
                                                         const TreeRequest& request) = 0;
};

}  // namespace kiln::filesync
