#pragma once

// A small typed way to make LLB: nodes are immutable values that refer to each other's outputs,
// Marshal() (marshal.h) turns the one that is wanted into a definition. No protobuf here, so that
// frontends compile fast. Nothing is checked before Marshal. Not thread-safe while a graph is being
// made; outputs may be copied freely.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "oci/platform.h"

namespace kiln::llb {

class Node;

// One output of one vertex under construction. The default is scratch, the empty file system.
// Copies share the vertex.
class Output {
 public:
  Output() = default;
  Output(std::shared_ptr<const Node> node, int index) : node_(std::move(node)), index_(index) {}

  bool scratch() const { return node_ == nullptr; }
  const std::shared_ptr<const Node>& node() const { return node_; }
  int index() const { return index_; }
  friend bool operator==(const Output&, const Output&) = default;

 private:
  std::shared_ptr<const Node> node_;
  int index_ = 0;
};

// --- where a vertex came from ---

struct Position {
  int32_t line = 0;  // from 1
  int32_t character = 0;
  friend bool operator==(const Position&, const Position&) = default;
};

struct Range {
  Position start;
  Position end;
  friend bool operator==(const Range&, const Range&) = default;
};

// A file that vertices were made from. Shared by pointer: one pointer is one entry of the
// definition's source infos.
struct SourceFile {
  std::string filename;
  std::string data;
  std::string language;  // "Dockerfile"
  Output definition;     // what the file was read from; scratch: not said
};

struct SourceLocation {
  std::shared_ptr<const SourceFile> file;
  std::vector<Range> ranges;
};

// --- what is said about a vertex beside what it does ---

// Steps shown to the user as one.
struct ProgressGroup {
  std::string id;
  std::string name;
  bool weak = false;
};

struct LinuxResources {
  int64_t memory_bytes = 0;
  int64_t memory_swap_bytes = 0;
  uint64_t cpu_shares = 0;
  uint64_t cpu_period_us = 0;
  int64_t cpu_quota_us = 0;
  std::string cpuset_cpus;
  std::string cpuset_mems;
};

struct VertexOptions {
  std::string name;                                // what the user sees; empty: made from the op
  std::map<std::string, std::string> description;  // further keys
  bool ignore_cache = false;
  std::optional<bool> export_cache;
  std::optional<ProgressGroup> progress_group;
  std::optional<LinuxResources> linux_resources;  // exec only
  std::optional<oci::Platform> platform;          // exec and image sources only; ignored on others
  std::vector<SourceLocation> locations;
};

// --- sources ---

// Identifier and attributes as the wire has them; source_id.h makes them from typed values.
struct SourceSpec {
  std::string identifier;
  std::map<std::string, std::string> attrs;
  friend bool operator==(const SourceSpec&, const SourceSpec&) = default;
};

Output Source(SourceSpec spec, VertexOptions options = {});

// A source whose attributes are known only after others already refer to it (a build context's file
// list). Set() once, before Marshal. Marshalling an output of one that is not set is an error that
// names `label`.
class DeferredSource {
 public:
  explicit DeferredSource(std::string label);
  const Output& output() const { return output_; }
  void Set(SourceSpec spec, VertexOptions options = {});
  bool is_set() const;

 private:
  std::shared_ptr<Node> node_;
  Output output_;
};

// --- exec ---

enum class NetworkMode { kSandbox = 0, kHost = 1, kNone = 2 };
enum class SecurityMode { kSandbox = 0, kInsecure = 1 };
enum class CacheSharing { kShared = 0, kPrivate = 1, kLocked = 2 };
enum class ContentCache { kDefault = 0, kOn = 1, kOff = 2 };

struct CacheMount {
  std::string id;
  CacheSharing sharing = CacheSharing::kShared;
};

struct TmpfsMount {
  int64_t size_bytes = 0;  // 0: no limit
};

// A bind mount, or with `cache` or `tmpfs` one of those.
struct ExecMount {
  std::string dest;
  Output source;
  std::string selector;  // path inside the source; empty: all of it
  bool readonly = false;
  bool no_output = false;  // writes are dropped
  std::optional<CacheMount> cache;
  std::optional<TmpfsMount> tmpfs;
  ContentCache content_cache = ContentCache::kDefault;
};

struct SecretMount {
  std::string id;
  std::optional<std::string> target;  // as a file
  std::optional<std::string> env;     // as an environment variable
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0400;
  bool optional = false;
};

struct SshMount {
  std::string id;
  std::string target;  // empty: /run/buildkit/ssh_agent.<index>; SSH_AUTH_SOCK is set to the first
                       // unless env has it
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0600;
  bool optional = false;
};

struct ExtraHost {
  std::string host;
  std::string ip;
};

struct Ulimit {
  std::string name;
  int64_t soft = 0;
  int64_t hard = 0;
};

struct ProxyEnv {
  std::string http_proxy;
  std::string https_proxy;
  std::string ftp_proxy;
  std::string no_proxy;
  std::string all_proxy;
};

struct CdiDevice {
  std::string name;
  bool optional = false;
};

struct ExecSpec {
  Output root;
  bool readonly_root = false;
  std::vector<std::string> args;
  std::vector<std::string> env;  // KEY=value
  std::string cwd = "/";
  std::string user;
  std::string hostname;
  std::vector<ExtraHost> extra_hosts;
  std::vector<Ulimit> ulimits;
  std::string cgroup_parent;
  std::vector<int32_t> valid_exit_codes;  // empty: only 0
  std::optional<ProxyEnv> proxy_env;
  NetworkMode network = NetworkMode::kSandbox;
  SecurityMode security = SecurityMode::kSandbox;
  std::vector<ExecMount> mounts;  // any order; they are sorted by dest
  std::vector<SecretMount> secrets;
  std::vector<SshMount> ssh;
  std::vector<CdiDevice> devices;
};

struct ExecOutputs {
  Output root;
  // One per spec.mounts, in its order: what the mount holds after the run; the source itself for a
  // read-only one; nothing (nullopt) for cache, tmpfs and no_output.
  std::vector<std::optional<Output>> mounts;
};

ExecOutputs Exec(ExecSpec spec, VertexOptions options = {});

// --- file ---

// An id, or a name that is looked up in /etc/passwd or /etc/group of the op's base (nobody's there:
// 0).
using User = std::variant<uint32_t, std::string>;

struct Owner {
  std::optional<User> user;
  std::optional<User> group;
};

struct MkdirAction {
  std::string path;
  int32_t mode = 0755;
  bool make_parents = false;
  std::optional<Owner> owner;
  std::optional<int64_t> timestamp_ns;
};

struct MkfileAction {
  std::string path;
  int32_t mode = 0644;
  std::string data;
  std::optional<Owner> owner;
  std::optional<int64_t> timestamp_ns;
};

struct SymlinkAction {
  std::string old_path;
  std::string new_path;
  std::optional<Owner> owner;
  std::optional<int64_t> timestamp_ns;
};

struct RmAction {
  std::string path;
  bool allow_not_found = false;
  bool allow_wildcard = false;
};

struct CopyAction {
  Output from;
  std::string src;
  std::string dest;
  std::optional<Owner> owner;
  std::optional<int32_t> mode;  // unset: the source's
  std::string mode_str;         // symbolic; wins over mode
  bool follow_symlinks = false;
  bool dir_copy_contents = false;
  bool attempt_unpack = false;
  bool create_dest_path = false;
  bool allow_wildcard = false;
  bool allow_empty_wildcard = false;
  bool always_replace_existing_dest_paths = false;
  std::vector<std::string> include_patterns;
  std::vector<std::string> exclude_patterns;
  std::vector<std::string> required_paths;
  std::optional<int64_t> timestamp_ns;
};

using FileAction = std::variant<MkdirAction, MkfileAction, SymlinkAction, RmAction, CopyAction>;

// Each action works on what the one before it left, the first on `base`. Without actions the result
// is `base`.
Output File(Output base, std::vector<FileAction> actions, VertexOptions options = {});

// --- merge, diff ---

// Scratch inputs are dropped; none left is scratch, one left is that input.
Output Merge(std::vector<Output> inputs, VertexOptions options = {});
// lower scratch is upper itself.
Output Diff(Output lower, Output upper, VertexOptions options = {});

}  // namespace kiln::llb
