#include "llb/cache_key.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/strings.h"
#include "llb/go_json.h"
#include "llb/indices.h"
#include "oci/json.h"

namespace kiln::llb {
namespace {

// Cache ids chosen by the user are left out of the key; the ones made from the target stay, for old
// caches' sake.
bool KeepsCacheOpt(const pb::Mount& mount) {
  const pb::CacheOpt& cache = mount.cacheopt();
  if (cache.sharing() != pb::SHARED) return false;
  if (cache.id() == mount.dest()) return true;
  auto parts = Cut(cache.id(), "/");
  return parts && parts->second == mount.dest();
}

bool IsPlainRootMount(const pb::Mount& mount) {
  return mount.dest() == "/" && mount.selector().empty() && !mount.readonly() &&
         mount.mounttype() == pb::BIND && !mount.has_cacheopt() && !mount.has_sshopt() &&
         !mount.has_secretopt() && mount.resultid().empty();
}

std::string ExecPreimage(const Vertex& vertex) {
  pb::ExecOp exec = vertex.op.exec();
  for (pb::HostIP& host : *exec.mutable_meta()->mutable_extrahosts()) host.clear_ip();
  exec.mutable_meta()->clear_proxy_env();
  for (pb::Mount& mount : *exec.mutable_mounts()) {
    mount.clear_selector();
    if (mount.has_cacheopt() && !KeepsCacheOpt(mount)) {
      mount.mutable_cacheopt()->clear_id();
      mount.mutable_cacheopt()->clear_sharing();
    }
  }
  if (exec.mounts_size() == 1 && IsPlainRootMount(exec.mounts(0))) exec.clear_mounts();
  std::string op_json;
  AppendGoJson(op_json, exec);

  oci::Platform platform = vertex.platform();
  oci::JsonWriter json;
  json.BeginObject();
  json.Key("Type").String("buildkit.exec.v0");
  json.Key("Exec").Raw(op_json);
  json.Key("OS").String(platform.os);
  json.Key("Arch").String(platform.architecture);
  if (!platform.variant.empty()) json.Key("Variant").String(platform.variant);
  if (!platform.os_version.empty()) json.Key("OSVersion").String(platform.os_version);
  if (!platform.os_features.empty()) {
    json.Key("OSFeatures").BeginArray();
    for (const std::string& feature : platform.os_features) json.String(feature);
    json.EndArray();
  }
  json.EndObject();
  return json.Take();
}

// The action's own message; a copy from an input names its source by base name, the rest being its
// content.
std::string ActionJson(const pb::FileAction& action, int64_t input_count) {
  std::string json;
  switch (action.action_case()) {
    case pb::FileAction::kMkdir:
      AppendGoJson(json, action.mkdir());
      break;
    case pb::FileAction::kMkfile:
      AppendGoJson(json, action.mkfile());
      break;
    case pb::FileAction::kSymlink:
      AppendGoJson(json, action.symlink());
      break;
    case pb::FileAction::kRm:
      AppendGoJson(json, action.rm());
      break;
    case pb::FileAction::kCopy: {
      pb::FileActionCopy copy = action.copy();
      if (action.secondaryinput() != kEmpty && action.secondaryinput() < input_count)
        copy.set_src(BaseName(copy.src()));
      AppendGoJson(json, copy);
      break;
    }
    case pb::FileAction::ACTION_NOT_SET:
      break;
  }
  return json;
}

// The indices a chain of actions on one input has. That results are counted from the number of
// actions, not of inputs, is upstream's, and part of the keys.
bool HasDefaultIndices(const pb::FileOp& file) {
  int64_t count = file.actions_size();
  for (int64_t i = 0; i < count; ++i) {
    const pb::FileAction& action = file.actions(static_cast<int>(i));
    if (action.input() != (i == 0 ? 0 : count + i - 1)) return false;
    if (action.secondaryinput() != kEmpty && action.secondaryinput() != 1) return false;
    if (action.output() != (i == count - 1 ? 0 : kEmpty)) return false;
  }
  return true;
}

std::string FilePreimage(const Vertex& vertex) {
  const pb::FileOp& file = vertex.op.file();
  oci::JsonWriter json;
  json.BeginObject();
  json.Key("Type").String("buildkit.file.v0");
  json.Key("Actions").BeginArray();
  for (const pb::FileAction& action : file.actions())
    json.String(Base64Encode(ActionJson(action, vertex.op.inputs_size())));
  json.EndArray();
  if (!HasDefaultIndices(file)) {
    json.Key("indexes").BeginArray();
    for (const pb::FileAction& action : file.actions()) {
      json.BeginArray();
      json.Int(action.input()).Int(action.secondaryinput()).Int(action.output());
      json.EndArray();
    }
    json.EndArray();
  }
  json.EndObject();
  return json.Take();
}

std::string SimplePreimage(std::string_view type, std::string_view key,
                           const google::protobuf::Message& message) {
  std::string op_json;
  AppendGoJson(op_json, message);
  oci::JsonWriter json;
  json.BeginObject();
  json.Key("Type").String(type);
  json.Key(key).Raw(op_json);
  json.EndObject();
  return json.Take();
}

bool IsBelow(const std::string& path, const std::string& parent) {
  if (path == parent) return false;
  return path.starts_with(parent.ends_with('/') ? parent : parent + "/");
}

// Sorted; without duplicates and without what lies below another one. A single path stays as it is.
std::vector<std::string> DedupePaths(const std::vector<std::string>& paths) {
  if (paths.size() <= 1) return paths;
  std::set<std::string> all(paths.begin(), paths.end());
  std::vector<std::string> kept;
  for (const std::string& path : all) {
    bool covered = std::any_of(all.begin(), all.end(),
                               [&](const std::string& other) { return IsBelow(path, other); });
    if (!covered) kept.push_back(path);
  }
  return kept;
}

std::string JoinNul(const std::vector<std::string>& parts) {
  return Join(parts, std::string_view("\0", 1));
}

// What of an input a mount shows decides what of it is hashed.
Result<bool> UsesContent(const pb::Mount& mount, const std::string& path) {
  bool safe = mount.output() == kEmpty || mount.readonly() || path == "/";
  switch (mount.contentcache()) {
    case pb::OFF:
      return false;
    case pb::ON:
      if (!safe) return Unknown("invalid mount cache content {}", mount.ShortDebugString());
      return true;
    default:
      return safe && mount.dest() != "/";
  }
}

Result<std::vector<KeyInput>> ExecInputs(const Vertex& vertex) {
  std::vector<KeyInput> inputs(vertex.op.inputs_size());
  std::vector<std::vector<std::string>> paths(inputs.size());
  for (const pb::Mount& mount : vertex.op.exec().mounts()) {
    if (mount.mounttype() != pb::BIND && mount.mounttype() != pb::CACHE) continue;
    if (mount.input() == kEmpty) continue;
    if (mount.input() < 0 || mount.input() >= vertex.op.inputs_size())
      return Unknown("invalid mountinput {}", mount.input());
    std::string path = JoinPath("/", mount.selector());
    paths[mount.input()].push_back(path);
    TRY_ASSIGN(inputs[mount.input()].content, UsesContent(mount, path));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (paths[i].empty()) continue;
    inputs[i].selector = Sha256Of(JoinNul(paths[i]));
    if (!inputs[i].content) continue;
    for (const std::string& path : DedupePaths(paths[i])) {
      if (path == "/") {
        inputs[i].selectors = {{.path = "/"}};
        break;
      }
      inputs[i].selectors.push_back({.path = path, .follow_links = true});
    }
  }
  return inputs;
}

bool HasWildcard(std::string_view path) {
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\') {
      ++i;
    } else if (path[i] == '*' || path[i] == '?' || path[i] == '[') {
      return true;
    }
  }
  return false;
}

bool IsPlain(const ContentSelector& selector) {
  return !selector.wildcard && selector.include_patterns.empty() &&
         selector.exclude_patterns.empty() && selector.required_paths.empty();
}

std::vector<ContentSelector> DedupeSelectors(const std::vector<ContentSelector>& all) {
  std::vector<std::string> plain;
  std::vector<std::string> followed;
  std::set<std::string> copied;
  for (const ContentSelector& selector : all) {
    if (!IsPlain(selector)) continue;
    (selector.follow_links ? followed : plain).push_back(selector.path);
    if (selector.of_copy) copied.insert(selector.path);
  }
  std::vector<ContentSelector> result;
  for (std::string& path : DedupePaths(plain)) result.push_back({.path = std::move(path)});
  for (std::string& path : DedupePaths(followed)) {
    const bool of_copy = copied.contains(path);
    result.push_back({.path = std::move(path), .follow_links = true, .of_copy = of_copy});
  }
  for (const ContentSelector& selector : all)
    if (!IsPlain(selector)) result.push_back(selector);
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) {
    return std::tie(a.path, a.follow_links) < std::tie(b.path, b.follow_links);
  });
  for (ContentSelector& selector : result) selector.path = JoinPath("/", selector.path);
  return result;
}

using SelectorMap = std::map<int64_t, std::vector<ContentSelector>>;

void AddOwnerSelectors(const pb::ChownOpt& owner, SelectorMap& selectors) {
  auto add = [&](const pb::UserOpt& user, const char* path) {
    if (user.has_byname() && user.byname().input() >= 0)
      selectors[user.byname().input()].push_back({.path = path, .follow_links = true});
  };
  add(owner.user(), "/etc/passwd");
  add(owner.group(), "/etc/group");
}

void AddActionSelectors(const pb::FileAction& action, int64_t input_count, SelectorMap& selectors) {
  if (action.has_mkdir()) AddOwnerSelectors(action.mkdir().owner(), selectors);
  if (action.has_mkfile()) AddOwnerSelectors(action.mkfile().owner(), selectors);
  if (action.has_symlink()) AddOwnerSelectors(action.symlink().owner(), selectors);
  if (!action.has_copy()) return;
  const pb::FileActionCopy& copy = action.copy();
  AddOwnerSelectors(copy.owner(), selectors);
  if (action.secondaryinput() < 0 || action.secondaryinput() >= input_count) return;
  selectors[action.secondaryinput()].push_back(
      {.path = copy.src(),
       .wildcard = copy.allowwildcard() && HasWildcard(copy.src()),
       .follow_links = copy.followsymlink(),
       .include_patterns = {copy.include_patterns().begin(), copy.include_patterns().end()},
       .exclude_patterns = {copy.exclude_patterns().begin(), copy.exclude_patterns().end()},
       .required_paths = {copy.required_paths().begin(), copy.required_paths().end()},
       .of_copy = true});
}

std::vector<KeyInput> FileInputs(const Vertex& vertex) {
  const int64_t count = vertex.op.inputs_size();
  std::vector<KeyInput> inputs(count);
  SelectorMap selectors;
  std::set<int64_t> changed;  // inputs that actions work on count as a whole
  for (const pb::FileAction& action : vertex.op.file().actions()) {
    changed.insert(action.input());
    AddActionSelectors(action, count, selectors);
  }
  for (const auto& [index, list] : selectors) {
    if (index < 0 || index >= count || changed.contains(index)) continue;
    std::vector<std::string> paths;
    for (const ContentSelector& selector : list) paths.push_back(selector.path);
    std::sort(paths.rbegin(), paths.rend());
    inputs[index].selector = Sha256Of(JoinNul(paths));
    inputs[index].content = true;
    inputs[index].selectors = DedupeSelectors(list);
  }
  return inputs;
}

}  // namespace

Result<std::string> KeyPreimage(const Vertex& vertex) {
  switch (vertex.kind()) {
    case OpKind::kExec:
      return ExecPreimage(vertex);
    case OpKind::kFile:
      return FilePreimage(vertex);
    case OpKind::kMerge:
      return SimplePreimage("buildkit.merge.v0", "Merge", vertex.op.merge());
    case OpKind::kDiff:
      return SimplePreimage("buildkit.diff.v0", "Diff", vertex.op.diff());
    case OpKind::kBuild:
      return SimplePreimage("buildkit.build.v0", "Exec", vertex.op.build());
    case OpKind::kPassthrough:
      return SimplePreimage("buildkit.passthrough.v0", "Passthrough", vertex.op.passthrough());
    case OpKind::kSource:
    case OpKind::kTerminal:
      break;
  }
  return Internal("{} vertices have no key of this kind", KindName(vertex.kind()));
}

Result<KeyMap> KeyMapOf(const Vertex& vertex) {
  KeyMap map;
  TRY_ASSIGN(std::string preimage, KeyPreimage(vertex));
  map.digest = Sha256Of(preimage);
  if (vertex.kind() == OpKind::kExec) {
    TRY_ASSIGN(map.inputs, ExecInputs(vertex));
  } else if (vertex.kind() == OpKind::kFile) {
    map.inputs = FileInputs(vertex);
  } else {
    map.inputs.resize(vertex.op.inputs_size());
  }
  return map;
}

std::string SourceKeyDigest(std::string_view key) {
  Digest digest = Sha256Of("buildkit.source.v0:" + std::string(key));
  return key.starts_with("session:") ? "random:" + digest.hex() : digest.ToString();
}

Digest JoinContentDigests(const std::vector<Digest>& digests) {
  std::vector<std::string> texts;
  for (const Digest& digest : digests) texts.push_back(digest.ToString());
  return Sha256Of(JoinNul(texts));
}

}  // namespace kiln::llb
