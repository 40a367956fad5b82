#include "solver/key_node.h"

namespace kiln::solver {

KeyNode::~KeyNode() {
  std::vector<std::vector<std::vector<KeyAlternative>>> rest;
  rest.push_back(std::move(inputs));
  while (!rest.empty()) {
    auto taken = std::move(rest.back());
    rest.pop_back();
    for (auto& alternatives : taken) {
      for (KeyAlternative& alternative : alternatives) {
        if (alternative.node.use_count() == 1) rest.push_back(std::move(alternative.node->inputs));
        alternative.node.reset();
      }
    }
  }
}

KeyNodePtr KeyNode::Root(const KeyDigest& digest, int output, bool save_only) {
  auto node = std::make_shared<KeyNode>();
  node->digest = digest;
  node->output = output;
  node->universal = true;
  node->save_only = save_only;
  KeyId id = RootKeyId(digest, output);
  if (IsRandom(digest)) id.insert(0, kMemoryPrefix);
  node->ids.emplace_back(kLocalSource, std::move(id));
  return node;
}

KeyNodePtr KeyNode::Content(const std::string& content_digest) {
  auto node = std::make_shared<KeyNode>();
  node->digest = content_digest;
  node->output = kContentOutput;
  node->universal = true;
  node->ids.emplace_back(kLocalSource, ContentKeyId(content_digest));
  return node;
}

KeyNodePtr KeyNode::Local(const KeyDigest& digest, int output, KeyId id, bool save_only) {
  auto node = std::make_shared<KeyNode>();
  node->digest = digest;
  node->output = output;
  node->save_only = save_only;
  node->ids.emplace_back(kLocalSource, std::move(id));
  return node;
}

const KeyId* KeyNode::IdIn(SourceId source) const {
  if (universal) {
    const KeyId& id = ids.front().second;
    return source != kLocalSource && IsMemoryId(id) ? nullptr : &id;
  }
  for (const auto& [owner, id] : ids) {
    if (owner == source) return &id;
  }
  return nullptr;
}

void KeyNode::SetId(SourceId source, KeyId id) { ids.emplace_back(source, std::move(id)); }

}  // namespace kiln::solver
