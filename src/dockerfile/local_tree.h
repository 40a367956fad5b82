#pragma once

#include <set>
#include <string>
#include <vector>

#include "llb/build.h"

namespace kiln::dockerfile {

// A folder of the client's whose transfer is limited to what the build reads. Its vertex gets its
// attributes at the end, when all users are known; its output can be used before.
class LocalTree {
 public:
  struct Spec {
    std::string name;   // of the local source
    std::string label;  // what the user sees
    std::string shared_key_hint;
    std::string session_id;
    std::vector<std::string> excludes;
  };
  explicit LocalTree(Spec spec);

  const llb::Output& output() const { return source_.output(); }
  const std::vector<std::string>& excludes() const { return spec_.excludes; }
  // A path that a step reads, absolute or not, wildcards allowed.
  void Use(const std::string& path);
  void UseAll() { all_ = true; }
  // Fixes the attributes; once, before marshalling.
  void Finish();

 private:
  Spec spec_;
  llb::DeferredSource source_;
  std::set<std::string> paths_;
  bool all_ = false;
  bool finished_ = false;
};

}  // namespace kiln::dockerfile
