#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "progress/activity.h"
#include "store/tree.h"

namespace kiln::store {

// The entry hash of BuildKit's contenthash (llb-ops-cache §9), fed in two steps: the head, then a
// regular file's bytes. Symlinks hash as 0777, sockets as empty regular files; xattrs are filtered
// here.
class EntryHasher {
 public:
  EntryHasher(const TreeNode& node, const sys::Xattrs& xattrs);
  void Update(std::string_view content) { hasher_.Update(content); }
  Digest Finish() { return hasher_.Finish(); }

 private:
  Sha256 hasher_;
};

// One thing to hash in a tree.
struct HashSelector {
  std::string path = "/";
  bool wildcard = false;  // `path` may hold * ? [ (Go path.Match)
  bool follow_links =
      false;  // the last component, and top-level links of wildcard and filter matches
  std::vector<std::string> include;  // patternmatcher, relative to `path`
  std::vector<std::string> exclude;
  std::vector<std::string> required_paths;
  // For links that are followed: one that leads nowhere counts as itself, where a path or a
  // wildcard names it; where filters apply, one to a folder is walked as that, if a path or a
  // wildcard names it or it is one of `include`'s folders.
  bool follows_as_copies_do = false;
};

// Digest of one selection. Missing: NotFound with message `"/x": not found`.
Result<Digest> HashPath(const progress::Activity& activity, const TreeView& tree,
                        const HashSelector& selector);
// The content digest of an op's input: sha256 of the digests' text joined by NUL, also for one
// selector.
Result<Digest> ContentDigest(const progress::Activity& activity, const TreeView& tree,
                             std::span<const HashSelector> selectors);
// The same for an input that is scratch: "/" is sha256(""), else NotFound `P: no such file or
// directory`.
Result<Digest> ScratchContentDigest(std::span<const HashSelector> selectors);

}  // namespace kiln::store
