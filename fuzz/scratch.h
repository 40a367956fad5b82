#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/check.h"
#include "sys/rooted_path.h"

namespace kiln {

// A folder that each input finds empty.
class Scratch {
 public:
  Scratch() : path_(Make()), parent_(*sys::RootedPath::Open(path_)) {}
  ~Scratch() { rmdir(path_.c_str()); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  sys::RootedPath Begin() {
    CHECK(parent_.MakeDir("root").ok());
    return *parent_.Sub("root");
  }
  // Nothing may have come to lie outside of the folder.
  void End() {
    CHECK(parent_.RemoveTree("root").ok());
    CHECK(std::filesystem::is_empty(path_));
  }

 private:
  static std::string Make() {
    std::string path = std::filesystem::temp_directory_path() / "kiln-fuzz-XXXXXX";
    CHECK(mkdtemp(path.data()) != nullptr);
    return path;
  }

  const std::string path_;
  const sys::RootedPath parent_;
};

}  // namespace kiln
