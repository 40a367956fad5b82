#include "store/tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "base/strings.h"
#include "store/tree_paths.h"

namespace kiln::store {
namespace {

std::string_view InLayer(const std::string& path) { return std::string_view(path).substr(1); }

// Adds a lower layer's view of the same name to an entry. True when layers further down cannot
// matter any more.
bool Stack(TreeEntry* entry, size_t layer, const TreeNode* node) {
  if (node->IsWhiteout()) return true;
  if (entry->node == nullptr) {
    entry->node = node;
    entry->layer = layer;
    if (!node->IsDirectory()) return true;
  } else if (!node->IsDirectory()) {
    return true;
  }
  entry->parts.emplace_back(layer, node);
  return node->opaque;
}

}  // namespace

void PushComponents(std::string_view path, std::deque<std::string>* pending) {
  std::vector<std::string> parts;
  for (std::string_view part : Split(path, '/')) {
    if (!part.empty() && part != ".") parts.emplace_back(part);
  }
  pending->insert(pending->begin(), std::make_move_iterator(parts.begin()),
                  std::make_move_iterator(parts.end()));
}

std::string CleanAbsolute(std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view part : Split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      kept.push_back(part);
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string clean;
  for (std::string_view part : kept) clean.append("/").append(part);
  return clean.empty() ? "/" : clean;
}

struct TreeView::Shared {
  std::vector<std::shared_ptr<const LayerTree>> layers;  // bottom first
  std::shared_ptr<const void> hold;
  TreeNode scratch_root;
};

TreeView::TreeView() : TreeView(std::vector<std::shared_ptr<const LayerTree>>()) {}

TreeView::TreeView(std::vector<std::shared_ptr<const LayerTree>> layers,
                   std::shared_ptr<const void> hold) {
  auto shared = std::make_shared<Shared>();
  shared->layers = std::move(layers);
  shared->hold = std::move(hold);
  shared->scratch_root.mode = S_IFDIR | 0755;
  shared->scratch_root.loaded = true;
  shared_ = std::move(shared);
}

size_t TreeView::layer_count() const { return shared_->layers.size(); }
const LayerTree& TreeView::layer(size_t index) const { return *shared_->layers[index]; }

Result<TreeEntry> TreeView::Root() const {
  TreeEntry root;
  root.path = "/";
  for (size_t i = shared_->layers.size(); i-- > 0;) {
    TRY_ASSIGN(const TreeNode* node, shared_->layers[i]->Root());
    if (Stack(&root, i, node)) break;
  }
  if (root.node == nullptr) root.node = &shared_->scratch_root;
  return root;
}

Result<TreeEntry> TreeView::Child(const TreeEntry& dir, std::string_view name) const {
  TreeEntry child;
  child.path = ChildPath(dir.path, name);
  for (const auto& [layer, part] : dir.parts) {
    TRY(shared_->layers[layer]->Children(*part, InLayer(dir.path)));
    const TreeNode* node = part->Child(name);
    if (node != nullptr && Stack(&child, layer, node)) break;
  }
  return child;
}

Result<std::vector<TreeEntry>> TreeView::Children(const TreeEntry& dir) const {
  if (!dir.node->IsDirectory()) return FailedPrecondition("{}: not a directory", dir.path);
  struct Candidate {
    const TreeNode* node;
    size_t layer;
  };
  std::vector<Candidate> candidates;
  for (const auto& [layer, part] : dir.parts) {
    TRY_ASSIGN(const std::vector<TreeNode>* nodes,
               shared_->layers[layer]->Children(*part, InLayer(dir.path)));
    candidates.reserve(candidates.size() + nodes->size());
    for (const TreeNode& node : *nodes) candidates.push_back({&node, layer});
  }
  if (dir.parts.size() > 1) {
    std::stable_sort(
        candidates.begin(), candidates.end(),
        [](const Candidate& a, const Candidate& b) { return a.node->name < b.node->name; });
  }
  std::vector<TreeEntry> children;
  children.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size();) {
    TreeEntry entry;
    bool ended = false;
    const std::string& name = candidates[i].node->name;
    for (; i < candidates.size() && candidates[i].node->name == name; ++i) {
      if (!ended) ended = Stack(&entry, candidates[i].layer, candidates[i].node);
    }
    if (entry.node == nullptr) continue;
    entry.path = ChildPath(dir.path, name);
    children.push_back(std::move(entry));
  }
  return children;
}

namespace {

// Walks `path` through the view. Stops at the first missing component: `missing` then holds the
// rest, itself first.
struct Resolution {
  std::vector<TreeEntry> stack;  // root … deepest found
  std::vector<std::string> missing;
};

Result<Resolution> ResolveIn(const TreeView& view, std::string_view path, Follow last) {
  Resolution at;
  TRY_ASSIGN(TreeEntry root, view.Root());
  at.stack.push_back(std::move(root));
  std::deque<std::string> pending;
  PushComponents(path, &pending);
  int links = 0;
  while (!pending.empty()) {
    const std::string name = std::move(pending.front());
    pending.pop_front();
    if (name == "..") {
      if (!at.missing.empty()) {
        at.missing.pop_back();
      } else if (at.stack.size() > 1) {
        at.stack.pop_back();
      }
      continue;
    }
    if (!at.missing.empty() || !at.stack.back().node->IsDirectory()) {
      at.missing.push_back(name);
      continue;
    }
    TRY_ASSIGN(TreeEntry child, view.Child(at.stack.back(), name));
    if (child.node == nullptr) {
      at.missing.push_back(name);
      continue;
    }
    if (!child.node->IsSymlink() || (pending.empty() && last == Follow::kNo)) {
      at.stack.push_back(std::move(child));
      continue;
    }
    if (++links > kMaxLinks) return FailedPrecondition("{}: too many links", path);
    const std::string& target = child.node->link_target;
    if (target.starts_with('/')) at.stack.resize(1);
    PushComponents(target, &pending);
  }
  return at;
}

}  // namespace

Result<TreeEntry> TreeView::Lookup(std::string_view path, Follow last) const {
  TRY_ASSIGN(Resolution at, ResolveIn(*this, path, last));
  if (!at.missing.empty()) return NotFound("{}: not found", Quoted(CleanAbsolute(path)));
  return std::move(at.stack.back());
}

Result<std::string> TreeView::Resolve(std::string_view path, Follow last) const {
  TRY_ASSIGN(Resolution at, ResolveIn(*this, path, last));
  std::string resolved = at.stack.back().path;
  for (const std::string& name : at.missing) resolved = ChildPath(resolved, name);
  return resolved;
}

Result<Fd> TreeView::Open(const TreeEntry& file) const {
  if (!file.node->IsRegular()) return FailedPrecondition("{}: not a regular file", file.path);
  return shared_->layers[file.layer]->Open(InLayer(file.path));
}

Result<std::string> TreeView::ReadFile(std::string_view path, uint64_t offset, uint64_t length,
                                       uint64_t limit) const {
  TRY_ASSIGN(const TreeEntry file, Lookup(path));
  TRY_ASSIGN(const Fd fd, Open(file));
  const uint64_t size = file.node->size;
  if (offset >= size) return std::string();
  const uint64_t rest = size - offset;
  const uint64_t wanted = length == 0 ? rest : std::min(rest, length);
  if (wanted > limit)
    return FailedPrecondition("{}: {} bytes are more than the limit of {}", file.path, wanted,
                              limit);
  std::string data(wanted, '\0');
  size_t done = 0;
  while (done < wanted) {
    const ssize_t count =
        pread(fd.get(), data.data() + done, wanted - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError(errno, "read {}", file.path);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  data.resize(done);
  return data;
}

Result<sys::Xattrs> TreeView::Xattrs(const TreeEntry& entry) const {
  if (shared_->layers.empty()) return sys::Xattrs();
  return shared_->layers[entry.layer]->Xattrs(InLayer(entry.path));
}

Result<Digest> TreeView::EntryDigest(const TreeEntry& entry) const {
  if (shared_->layers.empty()) return Sha256Of("");
  return shared_->layers[entry.layer]->EntryDigest(*entry.node, InLayer(entry.path));
}

Status TreeView::Walk(const TreeEntry& start, const Visitor& visit) const {
  TRY_ASSIGN(const bool enter, visit(start));
  if (!enter || !start.node->IsDirectory()) return OkStatus();
  TRY_ASSIGN(const std::vector<TreeEntry> children, Children(start));
  for (const TreeEntry& child : children) {
    TRY(Walk(child, visit));
  }
  return OkStatus();
}

}  // namespace kiln::store
