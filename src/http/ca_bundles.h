#pragma once

// Inside http only.

#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"

namespace kiln::http {

// The texts of trusted certificates that requests with files of their own use: read once for each
// state of the files. Safe from any thread.
class CaBundles {
 public:
  // `system` (may be missing) and all of `files`, one after the other. An error names the file.
  Result<std::shared_ptr<const std::string>> Get(const std::string& system,
                                                 const std::vector<std::string>& files)
      EXCLUDES(mutex_);

 private:
  // What tells two states of a file apart; zeros: there is none.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    int64_t changed_ns = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  struct Known {
    std::vector<Stamp> stamps;
    std::shared_ptr<const std::string> text;
  };
  static std::vector<Stamp> StampsOf(const std::string& system,
                                     const std::vector<std::string>& files);

  Mutex mutex_;
  std::map<std::vector<std::string>, Known> known_ GUARDED_BY(mutex_);
};

}  // namespace kiln::http
