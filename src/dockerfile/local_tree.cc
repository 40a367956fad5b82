#include "dockerfile/local_tree.h"

#include <utility>

#include "base/strings.h"
#include "llb/source_id.h"

namespace kiln::dockerfile {

LocalTree::LocalTree(Spec spec) : spec_(std::move(spec)), source_(spec_.label) {}

void LocalTree::Use(const std::string& path) {
  const std::string clean = CleanPath("/" + path);
  if (clean == "/") {
    all_ = true;
  } else {
    paths_.insert(clean.substr(1));
  }
}

void LocalTree::Finish() {
  if (finished_) return;
  finished_ = true;
  llb::LocalSource local;
  local.name = spec_.name;
  local.session_id = spec_.session_id;
  local.shared_key_hint = spec_.shared_key_hint;
  local.exclude_patterns = spec_.excludes;
  if (!all_) local.follow_paths.assign(paths_.begin(), paths_.end());
  llb::VertexOptions options;
  options.name = spec_.label;
  source_.Set(llb::Format(local), std::move(options));
}

}  // namespace kiln::dockerfile
