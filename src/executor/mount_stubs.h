#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/rooted_path.h"

namespace kiln::executor {

// Mount points that a container needs and its root file system lacks. They are made before the run,
// without their directories' times changing, so that afterwards those times are the process's doing
// alone; Remove() takes away those still empty, in the same way.
class MountStubs {
 public:
  // A device node that stands for a mount: the runtime leaves one that is there as it is.
  struct Node {
    mode_t mode = 0;  // with its type
    dev_t device = 0;
    uid_t uid = 0;
    gid_t gid = 0;
  };
  struct Point {
    std::string target;
    bool directory = true;
    mode_t mode = 0755;  // of a directory
    bool first = false;  // mounted before all others: none of them is above it yet
    std::optional<Node> node = std::nullopt;
  };

  // `recursive`: directories made above a mount point are stubs too, else they stay. A target below
  // another one is that mount's affair.
  static Result<MountStubs> Make(sys::RootedPath root, std::vector<Point> points, bool recursive);
  // Once, after the container is gone, while the root is still mounted.
  Status Remove();

 private:
  explicit MountStubs(sys::RootedPath root) : root_(std::move(root)) {}
  Status MakeOne(const Point& point, bool recursive);
  Status MakeLeaf(const std::string& path, const Point& point);

  sys::RootedPath root_;
  std::vector<std::string> made_;  // resolved paths, parents before what is in them
};

}  // namespace kiln::executor
