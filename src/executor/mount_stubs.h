#pragma once

#include <sys/types.h>

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
  struct Point {
    std::string target;
    bool directory = true;
    mode_t mode = 0755;  // of a directory
    bool first = false;  // mounted before all others: none of them is above it yet
  };

  // `recursive`: directories made above a mount point are stubs too, else they stay. A target below
  // another one is that mount's affair.
  static Result<MountStubs> Make(sys::RootedPath root, std::vector<Point> points, bool recursive);
  // Once, after the container is gone, while the root is still mounted.
  Status Remove();

 private:
  explicit MountStubs(sys::RootedPath root) : root_(std::move(root)) {}
  Status MakeOne(const Point& point, bool recursive);

  sys::RootedPath root_;
  std::vector<std::string> made_;  // resolved paths, parents before what is in them
};

}  // namespace kiln::executor
