#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "solver/ids.h"

namespace kiln::solver {

// 0 is the local source; importers are numbered as they are first seen.
using SourceId = uint64_t;
inline constexpr SourceId kLocalSource = 0;

struct KeyNode;
using KeyNodePtr = std::shared_ptr<KeyNode>;

struct KeyAlternative {
  KeyNodePtr node;
  std::string selector;
};

// A key that an edge offers: what D is applied to. D, output and inputs never change. Nodes that
// have a local id need no inputs (the store has the links), so only keys seen in importers alone
// keep them.
struct KeyNode {
  KeyNode() = default;
  KeyNode(const KeyNode&) = delete;
  KeyNode& operator=(const KeyNode&) = delete;
  // Not recursive: chains are as long as graphs are deep.
  ~KeyNode();

  static KeyNodePtr Root(const KeyDigest& digest, int output, bool save_only);
  static KeyNodePtr Content(const std::string& content_digest);
  static KeyNodePtr Local(const KeyDigest& digest, int output, KeyId id, bool save_only);

  // The id in that source, or null.
  const KeyId* IdIn(SourceId source) const;
  void SetId(SourceId source, KeyId id);

  KeyDigest digest;
  int output = 0;
  bool universal = false;  // root or content key: one id in all sources
  bool save_only =
      false;  // rests on an ignore-cache vertex: links may be saved from it, not looked up
  std::vector<std::vector<KeyAlternative>> inputs;
  std::vector<std::pair<SourceId, KeyId>> ids;
};

// Ids of keys that rest on a random one begin so and never leave memory.
inline constexpr std::string_view kMemoryPrefix = "m:";
inline bool IsMemoryId(std::string_view id) { return id.starts_with(kMemoryPrefix); }

}  // namespace kiln::solver
