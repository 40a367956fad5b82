#include "ops/exec_mounts.h"

#include <utility>

#include "base/strings.h"
#include "executor/oci_spec.h"
#include "llb/indices.h"
#include "store/active_mount.h"
#include "store/store.h"

namespace kiln::ops {
namespace {

std::string CacheId(const pb::Mount& mount) {
  return mount.cacheopt().id().empty() ? mount.dest() : mount.cacheopt().id();
}

// Of its directory; one that begins with the content of an input has that one's id behind it.
std::string CacheKey(const pb::Mount& mount) { return "cache:" + CacheId(mount); }

store::Sharing SharingOf(const pb::Mount& mount) {
  switch (mount.cacheopt().sharing()) {
    case pb::PRIVATE:
      return store::Sharing::kPrivate;
    case pb::LOCKED:
      return store::Sharing::kLocked;
    default:
      return store::Sharing::kShared;
  }
}

bool HasOutput(const pb::Mount& mount) { return mount.output() != llb::kEmpty; }
bool IsRoot(const pb::Mount& mount) { return mount.dest() == "/"; }

}  // namespace

std::string CacheLockName(const pb::Mount& mount) { return "cache mount " + CacheId(mount); }

Status RenewCaches(store::Store& store, const llb::Vertex& vertex) {
  if (!vertex.metadata.ignore_cache()) return OkStatus();
  for (const pb::Mount& mount : vertex.op.exec().mounts()) {
    if (mount.mounttype() != pb::CACHE) continue;
    TRY(store.RetireNamedDirs(CacheKey(mount), /*for_any_initial=*/mount.input() != llb::kEmpty));
  }
  return OkStatus();
}

class ExecMounts::Preparer {
 public:
  Preparer(ExecMounts& out, const ExecServices& exec, const progress::Activity& activity,
           const std::vector<store::SnapshotRef>& inputs)
      : out_(out),
        exec_(exec),
        activity_(activity),
        inputs_(inputs),
        store_(out.services_->store),
        op_(out.vertex_->op.exec()) {}

  Status Run() {
    for (const pb::Mount& mount : op_.mounts()) {
      TRY(activity_.Check());
      if (IsRoot(mount) && mount.mounttype() != pb::BIND) {
        return InvalidArgument("invalid mount type {} for /",
                               pb::MountType_Name(mount.mounttype()));
      }
      switch (mount.mounttype()) {
        case pb::BIND:
          TRY(Bind(mount));
          break;
        case pb::CACHE:
          TRY(Cache(mount));
          break;
        case pb::TMPFS:
          TRY(Tmpfs(mount));
          break;
        case pb::SECRET:
          TRY(Secret(mount));
          break;
        case pb::SSH:
          TRY(Ssh(mount));
          break;
        default:
          return InvalidArgument("mount type {} is not supported",
                                 static_cast<int>(mount.mounttype()));
      }
    }
    return OkStatus();
  }

 private:
  Result<store::SnapshotRef> Input(const pb::Mount& mount) const {
    if (mount.input() == llb::kEmpty) return store::SnapshotRef();
    if (mount.input() < 0 || static_cast<uint64_t>(mount.input()) >= inputs_.size()) {
      return InvalidArgument("mount {}: missing input {}", mount.dest(), mount.input());
    }
    return inputs_[static_cast<size_t>(mount.input())];
  }

  Status Bind(const pb::Mount& mount) {
    TRY_ASSIGN(store::SnapshotRef input, Input(mount));
    bool has_input = mount.input() != llb::kEmpty;
    if (mount.readonly() && has_input && !IsRoot(mount)) {
      if (HasOutput(mount)) out_.outputs_.emplace_back(input);
      TRY_ASSIGN(sys::MountDescription view, store_.ViewMount(input));
      view.flags.readonly = true;
      out_.views_.push_back(std::move(input));
      return Add(mount, std::move(view));
    }
    if (IsRoot(mount) && !mount.readonly() && !HasOutput(mount)) {
      // Upstream gives such a root nothing to write to: only an image that has all mount points
      // runs.
      if (input.is_scratch()) return InvalidArgument("mount / has no input");
      TRY_ASSIGN(out_.root_, store_.ViewMount(input));
      out_.root_.flags.readonly = true;
      out_.views_.push_back(std::move(input));
      return OkStatus();
    }
    TRY_ASSIGN(store::ActiveSnapshot active, store_.Prepare(activity_, input));
    TRY_ASSIGN(sys::MountDescription description, store::MountActive(activity_, active));
    if (HasOutput(mount)) {
      out_.outputs_.emplace_back(Pending{out_.actives_.size(), mount.dest()});
    }
    out_.actives_.push_back(std::move(active));
    if (IsRoot(mount)) {
      // Written below a read-only root too: mount points.
      out_.root_ = std::move(description);
      out_.readonly_root_ = mount.readonly();
      return OkStatus();
    }
    description.flags.readonly = mount.readonly();
    return Add(mount, std::move(description));
  }

  Status Cache(const pb::Mount& mount) {
    TRY_ASSIGN(store::SnapshotRef input, Input(mount));
    if (HasOutput(mount) && mount.input() != llb::kEmpty) out_.outputs_.emplace_back(input);
    std::string key = CacheKey(mount);
    if (!input.is_scratch()) key += ":" + input.id();
    auto found = out_.caches_.find(key);
    if (found == out_.caches_.end()) {
      store::NamedDirOptions options{
          .key = key,
          .description = fmt::format("cached mount {} from exec {}", mount.dest(), Command()),
          .sharing = SharingOf(mount),
          .keep_if_dirty = true,
          .initial = input};
      TRY_ASSIGN(store::NamedDir dir, store_.OpenNamedDir(activity_, options));
      found = out_.caches_.emplace(key, std::move(dir)).first;
    }
    return Add(mount, found->second.Mount(mount.readonly()));
  }

  Status Tmpfs(const pb::Mount& mount) {
    int64_t size = mount.tmpfsopt().size();
    if (size < 0) return InvalidArgument("mount {}: bad tmpfs size {}", mount.dest(), size);
    sys::MountDescription description;
    description.what = sys::TmpfsMount{.size_bytes = static_cast<uint64_t>(size)};
    description.flags.readonly = mount.readonly();
    return Add(mount, std::move(description));
  }

  Status Secret(const pb::Mount& mount) {
    const pb::SecretOpt& secret = mount.secretopt();
    if (secret.id().empty()) return InvalidArgument("secret ID missing from mount options");
    auto data = exec_.secrets->GetSecret(activity_, secret.id());
    if (!data.ok()) {
      if (secret.optional() && data.error().code() == Code::kNotFound) return OkStatus();
      return std::move(data).error();
    }
    out_.mounts_.push_back({.target = Target(mount),
                            .what = executor::SecretFile{.data = std::move(*data),
                                                         .uid = secret.uid(),
                                                         .gid = secret.gid(),
                                                         .mode = secret.mode() & 0777}});
    return OkStatus();
  }

  Status Ssh(const pb::Mount& mount) {
    const pb::SSHOpt& ssh = mount.sshopt();
    if (auto there = exec_.secrets->CheckSshAgent(activity_, ssh.id()); !there.ok()) {
      if (there.error().code() != Code::kNotFound && activity_.cancel.cancelled()) return there;
      if (ssh.optional()) return OkStatus();
      if (there.error().code() != Code::kNotFound) return there;
      return FailedPrecondition("no SSH key {} forwarded from the client",
                                Quoted(ssh.id().empty() ? "default" : ssh.id()));
    }
    const session::AgentSocket::Options options{.directory = exec_.socket_dir,
                                                .uid = ssh.uid(),
                                                .gid = ssh.gid(),
                                                .mode = ssh.mode() & 0777};
    const auto forward = [secrets = exec_.secrets, id = ssh.id()](
                             const progress::Activity& activity, Fd connection) {
      return secrets->ForwardSshAgent(activity, id, std::move(connection));
    };
    TRY_ASSIGN(std::unique_ptr<session::AgentSocket> agent,
               session::AgentSocket::Open(options, forward, activity_));
    sys::MountDescription description;
    description.what = sys::BindMount{.source = agent->path()};
    out_.agents_.push_back(std::move(agent));
    out_.mounts_.push_back({.target = Target(mount), .what = std::move(description)});
    return OkStatus();
  }

  Status Add(const pb::Mount& mount, sys::MountDescription description) {
    out_.mounts_.push_back(
        {.target = Target(mount), .what = std::move(description), .selector = mount.selector()});
    return OkStatus();
  }

  std::string Target(const pb::Mount& mount) const {
    if (mount.dest().starts_with('/')) return CleanPath(mount.dest());
    return JoinPath(executor::AbsoluteCwd(op_.meta().cwd()), mount.dest());
  }

  std::string Command() const { return fmt::format("{}", fmt::join(op_.meta().args(), " ")); }

  ExecMounts& out_;
  const ExecServices& exec_;
  const progress::Activity& activity_;
  const std::vector<store::SnapshotRef>& inputs_;
  store::Store& store_;
  const pb::ExecOp& op_;
};

Result<ExecMounts> ExecMounts::Prepare(const Services& services, const ExecServices& exec,
                                       const llb::Vertex& vertex,
                                       const progress::Activity& activity,
                                       const std::vector<store::SnapshotRef>& inputs) {
  ExecMounts mounts(services, vertex);
  TRY(Preparer(mounts, exec, activity, inputs).Run());
  return mounts;
}

void ExecMounts::FillIn(executor::ProcessSpec& spec) {
  spec.root = root_;
  spec.readonly_root = readonly_root_;
  spec.mounts = std::move(mounts_);
}

Result<std::vector<store::SnapshotRef>> ExecMounts::Commit() && {
  agents_.clear();
  std::string command = fmt::format("{}", fmt::join(vertex_->op.exec().meta().args(), " "));
  std::vector<store::SnapshotRef> results;
  for (auto& output : outputs_) {
    if (auto* ref = std::get_if<store::SnapshotRef>(&output)) {
      results.push_back(std::move(*ref));
      continue;
    }
    const Pending& pending = std::get<Pending>(output);
    store::CommitOptions options{.description =
                                     fmt::format("mount {} from exec {}", pending.dest, command)};
    TRY_ASSIGN(store::SnapshotRef ref,
               services_->store.Commit(std::move(actives_[pending.active]), options));
    results.push_back(std::move(ref));
  }
  return results;
}

}  // namespace kiln::ops
