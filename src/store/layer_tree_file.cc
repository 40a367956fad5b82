// Saved layer indexes. Format: docs/formats.md, "Layer index, version 1".
#include "store/layer_tree_file.h"

#include <cstring>

#include "base/fd.h"
#include "store/layer_tree.h"

namespace kiln::store {
namespace {

constexpr int kMaxDepth = 4096;
constexpr uint8_t kLoaded = 1;
constexpr uint8_t kOpaque = 2;
constexpr uint8_t kDigest = 4;
constexpr size_t kMaxFileBytes = size_t{1} << 30;

void PutVarint(std::string* out, uint64_t value) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void PutText(std::string* out, std::string_view text) {
  PutVarint(out, text.size());
  out->append(text);
}

uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

void PutNode(std::string* out, const TreeNode& node) {
  const bool has_digest = !node.digest.empty();
  out->push_back(static_cast<char>((node.loaded ? kLoaded : 0) | (node.opaque ? kOpaque : 0) |
                                   (has_digest ? kDigest : 0)));
  PutText(out, node.name);
  PutText(out, node.link_target);
  for (const uint64_t value :
       {uint64_t{node.mode}, uint64_t{node.uid}, uint64_t{node.gid}, uint64_t{node.nlink},
        node.size, ZigZag(node.mtime_ns), node.rdev, node.ino}) {
    PutVarint(out, value);
  }
  if (has_digest)
    out->append(reinterpret_cast<const char*>(node.digest.bytes().data()), Digest::kBytes);
  if (!node.loaded) return;
  PutVarint(out, node.children.size());
  for (const TreeNode& child : node.children) PutNode(out, child);
}

class Parser {
 public:
  explicit Parser(std::string_view data) : data_(data) {}

  bool Node(TreeNode* node, int depth, size_t* nodes) {
    uint8_t flags = 0;
    uint64_t mode = 0, uid = 0, gid = 0, nlink = 0, mtime = 0;
    if (depth > kMaxDepth || !Byte(&flags) || !Text(&node->name) || !Text(&node->link_target))
      return false;
    if (!Varint(&mode) || !Varint(&uid) || !Varint(&gid) || !Varint(&nlink) ||
        !Varint(&node->size) || !Varint(&mtime) || !Varint(&node->rdev) || !Varint(&node->ino)) {
      return false;
    }
    node->mode = static_cast<mode_t>(mode);
    node->uid = static_cast<uint32_t>(uid);
    node->gid = static_cast<uint32_t>(gid);
    node->nlink = static_cast<uint32_t>(nlink);
    node->mtime_ns = UnZigZag(mtime);
    node->opaque = (flags & kOpaque) != 0;
    node->loaded = (flags & kLoaded) != 0;
    ++*nodes;
    if ((flags & kDigest) != 0 && !ReadDigest(&node->digest)) return false;
    return !node->loaded || ChildrenOf(node, depth, nodes);
  }

  bool done() const { return data_.empty(); }

 private:
  bool ChildrenOf(TreeNode* node, int depth, size_t* nodes) {
    uint64_t count = 0;
    if (!Varint(&count) || count > data_.size()) return false;
    node->children.resize(count);
    for (size_t i = 0; i < count; ++i) {
      TreeNode& child = node->children[i];
      if (!Node(&child, depth + 1, nodes)) return false;
      if (child.name.empty() || child.name.find('/') != child.name.npos) return false;
      if (i > 0 && child.name <= node->children[i - 1].name) return false;
    }
    return true;
  }

  bool Byte(uint8_t* value) {
    if (data_.empty()) return false;
    *value = static_cast<uint8_t>(data_[0]);
    data_.remove_prefix(1);
    return true;
  }

  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = 0;
      if (!Byte(&byte)) return false;
      *value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool Text(std::string* text) {
    uint64_t size = 0;
    if (!Varint(&size) || size > data_.size()) return false;
    text->assign(data_.substr(0, size));
    data_.remove_prefix(size);
    return true;
  }

  bool ReadDigest(Digest* digest) {
    std::array<uint8_t, Digest::kBytes> bytes;
    if (data_.size() < bytes.size()) return false;
    std::memcpy(bytes.data(), data_.data(), bytes.size());
    data_.remove_prefix(bytes.size());
    *digest = Digest(bytes);
    return true;
  }

  std::string_view data_;
};

}  // namespace

// FNV-1a over 8-byte words: a guard against files cut short, not against malice (the store's root
// is ours).
uint64_t LayerIndexChecksum(std::string_view data) {
  uint64_t hash = 0xcbf29ce484222325;
  while (data.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, data.data(), 8);
    hash = (hash ^ word) * 0x100000001b3;
    hash ^= hash >> 29;
    data.remove_prefix(8);
  }
  for (const unsigned char byte : data) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

Status LayerTree::Save(const std::string& index_file) const {
  TRY(Root());
  std::string out(kLayerIndexMagic);
  {
    MutexLock lock(mutex_);
    if (!changed_) return OkStatus();
    out.reserve(nodes_ * 96);
    PutNode(&out, root_);
    changed_ = false;
  }
  const uint64_t sum = LayerIndexChecksum(out);
  out.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  return WriteFileAtomically(index_file, out, 0600);
}

Result<std::shared_ptr<LayerTree>> LayerTree::Load(sys::RootedPath root,
                                                   const std::string& index_file) {
  TRY_ASSIGN(const std::string data, ReadFile(index_file, kMaxFileBytes));
  const std::string_view view = data;
  uint64_t sum = 0;
  if (view.size() < kLayerIndexMagic.size() + sizeof sum || !view.starts_with(kLayerIndexMagic)) {
    return DataLoss("{}: not a layer index of this version", index_file);
  }
  std::memcpy(&sum, view.data() + view.size() - sizeof sum, sizeof sum);
  const std::string_view body = view.substr(0, view.size() - sizeof sum);
  auto tree = std::make_shared<LayerTree>(std::move(root));
  const MutexLock lock(tree->mutex_);
  Parser parser(body.substr(kLayerIndexMagic.size()));
  if (LayerIndexChecksum(body) != sum || !parser.Node(&tree->root_, 0, &tree->nodes_) ||
      !parser.done() || !tree->root_.IsDirectory()) {
    return DataLoss("{}: damaged layer index", index_file);
  }
  tree->root_.name.clear();
  tree->root_loaded_ = true;
  return tree;
}

}  // namespace kiln::store
