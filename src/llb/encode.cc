#include "llb/encode.h"

#include <algorithm>
#include <tuple>

#include "base/strings.h"
#include "llb/definition.h"
#include "llb/indices.h"

namespace kiln::llb {
namespace {

// The op's input list, each output once.
class Inputs {
 public:
  Inputs(pb::Op& op, const NodeDigests& digests) : op_(op), digests_(digests) {}

  int64_t IndexOf(const Output& output) {
    if (output.scratch()) return kEmpty;
    const std::string& digest = digests_.at(output.node().get());
    for (int i = 0; i < op_.inputs_size(); ++i)
      if (op_.inputs(i).digest() == digest && op_.inputs(i).index() == output.index()) return i;
    pb::Input& input = *op_.add_inputs();
    input.set_digest(digest);
    input.set_index(output.index());
    return op_.inputs_size() - 1;
  }

 private:
  pb::Op& op_;
  const NodeDigests& digests_;
};

void EncodeMeta(const ExecSpec& spec, pb::Meta& meta) {
  for (const std::string& arg : spec.args) meta.add_args(arg);
  for (const std::string& env : spec.env) meta.add_env(env);
  meta.set_cwd(spec.cwd);
  meta.set_user(spec.user);
  meta.set_hostname(spec.hostname);
  meta.set_cgroupparent(spec.cgroup_parent);
  meta.set_removemountstubsrecursive(true);
  for (int32_t code : spec.valid_exit_codes) meta.add_validexitcodes(code);
  for (const ExtraHost& host : spec.extra_hosts) {
    pb::HostIP& entry = *meta.add_extrahosts();
    entry.set_host(host.host);
    entry.set_ip(host.ip);
  }
  for (const Ulimit& limit : spec.ulimits) {
    pb::Ulimit& entry = *meta.add_ulimit();
    entry.set_name(limit.name);
    entry.set_soft(limit.soft);
    entry.set_hard(limit.hard);
  }
  if (spec.proxy_env) {
    pb::ProxyEnv& proxy = *meta.mutable_proxy_env();
    proxy.set_http_proxy(spec.proxy_env->http_proxy);
    proxy.set_https_proxy(spec.proxy_env->https_proxy);
    proxy.set_ftp_proxy(spec.proxy_env->ftp_proxy);
    proxy.set_no_proxy(spec.proxy_env->no_proxy);
    proxy.set_all_proxy(spec.proxy_env->all_proxy);
  }
  if (!spec.ssh.empty()) {
    bool has_sock = std::any_of(spec.env.begin(), spec.env.end(), [](const std::string& env) {
      return env.starts_with("SSH_AUTH_SOCK=");
    });
    const std::string& target = spec.ssh.front().target;
    if (!has_sock)
      meta.add_env("SSH_AUTH_SOCK=" + (target.empty() ? "/run/buildkit/ssh_agent.0" : target));
  }
}

Status EncodeMount(const ExecMount& mount, Inputs& inputs, int64_t& next_output, pb::ExecOp& exec) {
  pb::Mount& result = *exec.add_mounts();
  if (mount.tmpfs && !mount.source.scratch())
    return InvalidArgument("tmpfs mount at {} must use scratch", Quoted(mount.dest));
  result.set_input(inputs.IndexOf(mount.source));
  result.set_selector(mount.selector);
  result.set_dest(mount.dest);
  result.set_readonly(mount.readonly);
  bool has_output = !mount.no_output && !mount.readonly && !mount.cache && !mount.tmpfs;
  result.set_output(has_output ? next_output++ : kEmpty);
  result.set_contentcache(static_cast<pb::MountContentCache>(mount.content_cache));
  if (mount.cache) {
    result.set_mounttype(pb::CACHE);
    result.mutable_cacheopt()->set_id(mount.cache->id);
    result.mutable_cacheopt()->set_sharing(static_cast<pb::CacheSharingOpt>(mount.cache->sharing));
  } else if (mount.tmpfs) {
    result.set_mounttype(pb::TMPFS);
    result.mutable_tmpfsopt()->set_size(mount.tmpfs->size_bytes);
  }
  return OkStatus();
}

// Secrets and sockets keep output 0, as clients send them: it means nothing for them, but stands in
// the cache key.
void EncodeSecret(const SecretMount& secret, pb::ExecOp& exec) {
  if (secret.env) {
    pb::SecretEnv& env = *exec.add_secretenv();
    env.set_id(secret.id);
    env.set_name(*secret.env);
    env.set_optional(secret.optional);
  }
  if (secret.target) {
    pb::Mount& mount = *exec.add_mounts();
    mount.set_input(kEmpty);
    mount.set_dest(*secret.target);
    mount.set_mounttype(pb::SECRET);
    pb::SecretOpt& option = *mount.mutable_secretopt();
    option.set_id(secret.id);
    option.set_uid(secret.uid);
    option.set_gid(secret.gid);
    option.set_mode(secret.mode);
    option.set_optional(secret.optional);
  }
}

void EncodeSsh(const SshMount& ssh, size_t index, pb::ExecOp& exec) {
  pb::Mount& mount = *exec.add_mounts();
  mount.set_input(kEmpty);
  mount.set_dest(ssh.target.empty() ? fmt::format("/run/buildkit/ssh_agent.{}", index)
                                    : ssh.target);
  mount.set_mounttype(pb::SSH);
  pb::SSHOpt& option = *mount.mutable_sshopt();
  option.set_id(ssh.id);
  option.set_uid(ssh.uid);
  option.set_gid(ssh.gid);
  option.set_mode(ssh.mode);
  option.set_optional(ssh.optional);
}

Status EncodeExec(const ExecSpec& spec, const NodeDigests& digests, pb::Op& op) {
  if (spec.args.empty()) return InvalidArgument("arguments are required");
  if (spec.cwd.empty()) return InvalidArgument("working directory is required");
  pb::ExecOp& exec = *op.mutable_exec();
  EncodeMeta(spec, *exec.mutable_meta());
  exec.set_network(static_cast<pb::NetMode>(spec.network));
  exec.set_security(static_cast<pb::SecurityMode>(spec.security));
  std::vector<const ExecMount*> mounts;
  for (const ExecMount& mount : spec.mounts) mounts.push_back(&mount);
  // Pointers into one vector: equal destinations stay in its order.
  std::sort(mounts.begin(), mounts.end(), [](const ExecMount* a, const ExecMount* b) {
    return std::tie(a->dest, a) < std::tie(b->dest, b);
  });
  ExecMount root{.dest = "/", .source = spec.root, .readonly = spec.readonly_root};
  Inputs inputs(op, digests);
  int64_t next_output = 0;
  TRY(EncodeMount(root, inputs, next_output, exec));
  for (const ExecMount* mount : mounts) TRY(EncodeMount(*mount, inputs, next_output, exec));
  for (const SecretMount& secret : spec.secrets) EncodeSecret(secret, exec);
  for (size_t i = 0; i < spec.ssh.size(); ++i) EncodeSsh(spec.ssh[i], i, exec);
  for (const CdiDevice& device : spec.devices) {
    pb::CDIDevice& entry = *exec.add_cdidevices();
    entry.set_name(device.name);
    entry.set_optional(device.optional);
  }
  return OkStatus();
}

pb::UserOpt EncodeUser(const User& user, int64_t base) {
  pb::UserOpt result;
  if (const auto* id = std::get_if<uint32_t>(&user)) {
    result.set_byid(*id);
  } else {
    result.mutable_byname()->set_name(std::get<std::string>(user));
    result.mutable_byname()->set_input(base);
  }
  return result;
}

template <typename Action>
void EncodeOwner(const std::optional<Owner>& owner, int64_t base, Action& action) {
  if (!owner) return;
  pb::ChownOpt& result = *action.mutable_owner();
  if (owner->user) *result.mutable_user() = EncodeUser(*owner->user, base);
  if (owner->group) *result.mutable_group() = EncodeUser(*owner->group, base);
}

// Appends one action; the indices are set by the caller.
struct ActionEncoder {
  pb::FileAction& result;
  Inputs& inputs;
  int64_t base;

  void operator()(const MkdirAction& action) const {
    pb::FileActionMkDir& mkdir = *result.mutable_mkdir();
    mkdir.set_path(action.path);
    mkdir.set_mode(action.mode);
    mkdir.set_makeparents(action.make_parents);
    mkdir.set_timestamp(action.timestamp_ns.value_or(-1));
    EncodeOwner(action.owner, base, mkdir);
  }
  void operator()(const MkfileAction& action) const {
    pb::FileActionMkFile& mkfile = *result.mutable_mkfile();
    mkfile.set_path(action.path);
    mkfile.set_mode(action.mode);
    mkfile.set_data(action.data);
    mkfile.set_timestamp(action.timestamp_ns.value_or(-1));
    EncodeOwner(action.owner, base, mkfile);
  }
  void operator()(const SymlinkAction& action) const {
    pb::FileActionSymlink& symlink = *result.mutable_symlink();
    symlink.set_oldpath(action.old_path);
    symlink.set_newpath(action.new_path);
    symlink.set_timestamp(action.timestamp_ns.value_or(-1));
    EncodeOwner(action.owner, base, symlink);
  }
  void operator()(const RmAction& action) const {
    pb::FileActionRm& rm = *result.mutable_rm();
    rm.set_path(action.path);
    rm.set_allownotfound(action.allow_not_found);
    rm.set_allowwildcard(action.allow_wildcard);
  }
  void operator()(const CopyAction& action) const {
    result.set_secondaryinput(inputs.IndexOf(action.from));
    pb::FileActionCopy& copy = *result.mutable_copy();
    copy.set_src(action.src);
    copy.set_dest(action.dest);
    EncodeOwner(action.owner, base, copy);
    copy.set_mode(action.mode_str.empty() ? action.mode.value_or(-1) : action.mode.value_or(0));
    copy.set_modestr(action.mode_str);
    copy.set_followsymlink(action.follow_symlinks);
    copy.set_dircopycontents(action.dir_copy_contents);
    copy.set_attemptunpackdockercompatibility(action.attempt_unpack);
    copy.set_createdestpath(action.create_dest_path);
    copy.set_allowwildcard(action.allow_wildcard);
    copy.set_allowemptywildcard(action.allow_empty_wildcard);
    copy.set_alwaysreplaceexistingdestpaths(action.always_replace_existing_dest_paths);
    copy.set_timestamp(action.timestamp_ns.value_or(-1));
    for (const std::string& pattern : action.include_patterns) copy.add_include_patterns(pattern);
    for (const std::string& pattern : action.exclude_patterns) copy.add_exclude_patterns(pattern);
    for (const std::string& path : action.required_paths) copy.add_required_paths(path);
  }
};

void EncodeFile(const FileSpec& spec, const NodeDigests& digests, pb::Op& op) {
  Inputs inputs(op, digests);
  int64_t base = inputs.IndexOf(spec.base);
  for (const FileAction& action : spec.actions) {
    pb::FileAction& result = *op.mutable_file()->add_actions();
    result.set_secondaryinput(kEmpty);
    result.set_output(kEmpty);
    std::visit(ActionEncoder{result, inputs, base}, action);
  }
  pb::FileOp& file = *op.mutable_file();
  // An action's result is numbered behind the inputs, so this comes when all inputs are known.
  file.mutable_actions(0)->set_input(base);
  for (int i = 1; i < file.actions_size(); ++i)
    file.mutable_actions(i)->set_input(op.inputs_size() + i - 1);
  file.mutable_actions(file.actions_size() - 1)->set_output(0);
}

void EncodeMerge(const MergeSpec& spec, const NodeDigests& digests, pb::Op& op) {
  for (const Output& output : spec.inputs) {
    // Merge counts its inputs one by one, the same one twice too.
    pb::Input& input = *op.add_inputs();
    input.set_digest(digests.at(output.node().get()));
    input.set_index(output.index());
    op.mutable_merge()->add_inputs()->set_input(op.inputs_size() - 1);
  }
}

void EncodeDiff(const DiffSpec& spec, const NodeDigests& digests, pb::Op& op) {
  auto add = [&](const Output& output) -> int64_t {
    if (output.scratch()) return kEmpty;
    pb::Input& input = *op.add_inputs();
    input.set_digest(digests.at(output.node().get()));
    input.set_index(output.index());
    return op.inputs_size() - 1;
  };
  op.mutable_diff()->mutable_lower()->set_input(add(spec.lower));
  op.mutable_diff()->mutable_upper()->set_input(add(spec.upper));
}

bool TakesPlatform(const Node& node) {
  if (std::holds_alternative<ExecSpec>(node.spec)) return true;
  const auto* source = std::get_if<SourceSpec>(&node.spec);
  return source != nullptr && (source->identifier.starts_with("docker-image://") ||
                               source->identifier.starts_with("oci-layout://"));
}

}  // namespace

Result<pb::Op> EncodeNode(const Node& node, const NodeDigests& digests) {
  pb::Op op;
  if (const auto* deferred = std::get_if<DeferredSpec>(&node.spec))
    return InvalidArgument("source {} was never set", Quoted(deferred->label));
  if (const auto* source = std::get_if<SourceSpec>(&node.spec)) {
    op.mutable_source()->set_identifier(source->identifier);
    op.mutable_source()->mutable_attrs()->insert(source->attrs.begin(), source->attrs.end());
  } else if (const auto* exec = std::get_if<ExecSpec>(&node.spec)) {
    TRY(EncodeExec(*exec, digests, op));
  } else if (const auto* file = std::get_if<FileSpec>(&node.spec)) {
    EncodeFile(*file, digests, op);
  } else if (const auto* merge = std::get_if<MergeSpec>(&node.spec)) {
    EncodeMerge(*merge, digests, op);
  } else if (const auto* diff = std::get_if<DiffSpec>(&node.spec)) {
    EncodeDiff(*diff, digests, op);
  } else {
    return Internal("an imported vertex is not encoded");
  }
  if (node.options.platform && TakesPlatform(node))
    *op.mutable_platform() = PlatformToPb(*node.options.platform);
  op.mutable_constraints();
  return op;
}

pb::OpMetadata EncodeMetadata(const VertexOptions& options) {
  pb::OpMetadata metadata;
  metadata.set_ignore_cache(options.ignore_cache);
  metadata.mutable_description()->insert(options.description.begin(), options.description.end());
  if (!options.name.empty()) (*metadata.mutable_description())["llb.customname"] = options.name;
  if (options.export_cache) metadata.mutable_export_cache()->set_value(*options.export_cache);
  if (options.progress_group) {
    metadata.mutable_progress_group()->set_id(options.progress_group->id);
    metadata.mutable_progress_group()->set_name(options.progress_group->name);
    metadata.mutable_progress_group()->set_weak(options.progress_group->weak);
  }
  if (options.linux_resources) {
    const LinuxResources& limits = *options.linux_resources;
    pb::LinuxResources& result = *metadata.mutable_linux_resources();
    result.set_memory(limits.memory_bytes);
    result.set_memoryswap(limits.memory_swap_bytes);
    result.set_cpushares(limits.cpu_shares);
    result.set_cpuperiod(limits.cpu_period_us);
    result.set_cpuquota(limits.cpu_quota_us);
    result.set_cpusetcpus(limits.cpuset_cpus);
    result.set_cpusetmems(limits.cpuset_mems);
  }
  return metadata;
}

}  // namespace kiln::llb
