#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "cdi/catalog.h"

namespace kiln::cdi {

// The devices that specification files in some folders describe; read anew when the files have
// changed. Safe from any thread.
class Registry {
 public:
  // `directories`: of ascending priority; those missing are none. `auto_allowed`: devices or kinds
  // that builds get without asking. No directories: no devices.
  Registry(std::vector<std::string> directories, std::set<std::string> auto_allowed);

  // What the files say now. Reads the disk. A file that is wrong is left out, and named in the log
  // once.
  std::shared_ptr<const Catalog> Current();

 private:
  const std::vector<std::string> directories_;
  const std::set<std::string> auto_allowed_;
  Mutex mutex_;
  std::string seen_ GUARDED_BY(mutex_);  // which files, of which time and size
  std::shared_ptr<const Catalog> catalog_ GUARDED_BY(mutex_) = std::make_shared<Catalog>();
};

}  // namespace kiln::cdi
