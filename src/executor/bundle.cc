#include "executor/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/strings.h"
#include "executor/capabilities.h"

namespace kiln::executor {
namespace {

// Directories that the default mounts cover: mount points below them are made by the runtime, in
// those.
constexpr const char* kCovered[] = {"/proc", "/dev", "/sys"};

Status MakeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0) return ErrnoError(errno, "make directory {}", path);
  return OkStatus();
}

bool IsAtOrBelow(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory ||
         (path.starts_with(directory) && path[directory.size()] == '/');
}

std::vector<std::string> BindOptions(const sys::MountFlags& flags) {
  std::vector<std::string> options = {"rbind"};
  if (flags.readonly) options.emplace_back("ro");
  if (flags.nosuid) options.emplace_back("nosuid");
  if (flags.nodev) options.emplace_back("nodev");
  if (flags.noexec) options.emplace_back("noexec");
  return options;
}

int OwnOomScoreAdjustment() {
  auto text = ReadFile("/proc/self/oom_score_adj");
  return text.ok() ? static_cast<int>(ParseInt(Trim(*text)).value_or(0)) : 0;
}

}  // namespace

Bundle::Bundle(const BundleSettings& settings, const sys::Mounter& mounter, const ProcessSpec& spec,
               std::string id)
    : settings_(settings),
      mounter_(mounter),
      spec_(spec),
      id_(std::move(id)),
      path_(settings.directory + "/" + id_),
      cgroups_path_(
          CgroupsPath(spec.cgroup_parent.empty() ? settings.cgroup_parent : spec.cgroup_parent, id_,
                      settings.rootless)) {}

Result<std::unique_ptr<Bundle>> Bundle::Create(const BundleSettings& settings,
                                               const sys::Mounter& mounter, const ProcessSpec& spec,
                                               const EtcTexts& etc, std::string id) {
  std::unique_ptr<Bundle> bundle(new Bundle(settings, mounter, spec, std::move(id)));
  TRY(bundle->Fill(etc));
  return bundle;
}

Status Bundle::Fill(const EtcTexts& etc) {
  TRY(MakeDirectory(path_, 0711));
  TRY(MakeDirectory(path_ + "/rootfs", 0711));
  TRY(MakeDirectory(path_ + "/mounts", 0711));
  TRY(WriteOwnFile("resolv.conf", etc.resolv_conf, 0644));
  TRY(WriteOwnFile("hosts", etc.hosts, 0644));
  TRY(MountRoot());
  TRY_ASSIGN(user_, LookUpUser(*root_, spec_.user));
  TRY(PrepareMounts());
  TRY(MakeStubs());
  TRY(MakeCwd());
  return WriteConfig();
}

Status Bundle::MountRoot() {
  TRY_ASSIGN_CTX(sys::Mount mount, mounter_.MountAt(spec_.root, path_ + "/rootfs"),
                 "mounting the root file system");
  attached_.push_back(std::move(mount));
  TRY_ASSIGN(root_, sys::RootedPath::Open(path_ + "/rootfs"));
  return OkStatus();
}

// Where the image has a folder, no file can be bound: the step sees the folder.
Result<bool> Bundle::HasFolder(const std::string& path) const {
  const auto info = root_->Stat(path, sys::Follow::kYes);
  if (info.ok()) return info->IsDirectory();
  if (info.error().code() == Code::kNotFound) return false;
  return info.error();
}

Status Bundle::PrepareMounts() {
  TRY_ASSIGN(hosts_is_folder_, HasFolder("/etc/hosts"));
  TRY_ASSIGN(resolv_conf_is_folder_, HasFolder("/etc/resolv.conf"));
  if (!resolv_conf_is_folder_)
    points_.push_back({.target = "/etc/resolv.conf", .directory = false, .first = true});
  if (!hosts_is_folder_)
    points_.push_back({.target = "/etc/hosts", .directory = false, .first = true});
  for (size_t i = 0; i < spec_.mounts.size(); ++i) {
    const StepMount& mount = spec_.mounts[i];
    TRY_ASSIGN_CTX(SpecMount prepared, Prepare(mount, i), "mount {}", mount.target);
    mounts_.push_back(std::move(prepared));
  }
  return OkStatus();
}

Result<SpecMount> Bundle::Prepare(const StepMount& mount, size_t number) {
  if (!mount.target.starts_with('/') || mount.target == "/")
    return InvalidArgument("bad mount target {}", Quoted(mount.target));
  std::string place = fmt::format("{}/mounts/{}", path_, number);
  SpecMount prepared;
  if (const auto* secret = std::get_if<SecretFile>(&mount.what)) {
    TRY_ASSIGN(prepared, PrepareSecret(mount, *secret, place));
  } else {
    TRY_ASSIGN(prepared, PrepareTree(mount, std::get<sys::MountDescription>(mount.what), place));
  }
  prepared.target = CleanPath(mount.target);
  bool directory = true;
  if (prepared.type == "bind") {
    TRY_ASSIGN(sys::FileInfo info, sys::StatAt(AT_FDCWD, prepared.source));
    directory = info.IsDirectory();
  }
  // The runtime gives a tmpfs the mode of what it finds at its place.
  const mode_t mode = prepared.type == "tmpfs" ? 01777 : 0755;
  points_.push_back({.target = prepared.target, .directory = directory, .mode = mode});
  return prepared;
}

// The tmpfs lies at `place`, the file in it: it is gone with the mount.
Result<SpecMount> Bundle::PrepareSecret(const StepMount&, const SecretFile& secret,
                                        const std::string& place) {
  TRY(MakeDirectory(place, 0700));
  sys::MountFlags flags{.nosuid = true, .nodev = true, .noexec = (secret.mode & 0111) == 0};
  TRY_ASSIGN(sys::Mount mount,
             mounter_.MountAt({.what = sys::TmpfsMount{.mode = 0700}, .flags = flags}, place));
  attached_.push_back(std::move(mount));
  TRY_ASSIGN(sys::RootedPath root, sys::RootedPath::Open(place));
  TRY(root.WriteFile("secret", secret.data.Reveal(), 0600));
  TRY(root.Chown("secret", secret.uid, secret.gid));
  TRY(root.Chmod("secret", secret.mode & 0777));
  flags.readonly = true;
  return SpecMount{.type = "bind", .source = place + "/secret", .options = BindOptions(flags)};
}

Result<SpecMount> Bundle::PrepareTree(const StepMount& mount, const sys::MountDescription& tree,
                                      const std::string& place) {
  bool whole = CleanPath("/" + mount.selector) == "/";
  if (const auto* tmpfs = std::get_if<sys::TmpfsMount>(&tree.what)) {
    if (!whole) return InvalidArgument("a tmpfs has no {}", Quoted(mount.selector));
    std::vector<std::string> options = {"nosuid"};
    if (tree.flags.readonly) options.emplace_back("ro");
    if (tmpfs->size_bytes != 0) options.push_back(fmt::format("size={}", tmpfs->size_bytes));
    return SpecMount{.type = "tmpfs", .source = "tmpfs", .options = options};
  }
  std::vector<std::string> options = BindOptions(tree.flags);
  if (const auto* bind = std::get_if<sys::BindMount>(&tree.what); bind != nullptr && whole) {
    return SpecMount{.type = "bind", .source = bind->source, .options = options};
  }
  TRY(MakeDirectory(place, 0711));
  TRY_ASSIGN(sys::Mount attached, mounter_.MountAt(tree, place));
  attached_.push_back(std::move(attached));
  std::string source = place;
  if (!whole) {
    TRY_ASSIGN(source, Select(place, mount.selector, place + ".part"));
  }
  return SpecMount{.type = "bind", .source = source, .options = options};
}

// Binds the part of an attached tree that the selector leads to, found by descriptor: whatever its
// owner renames meanwhile, no path is walked a second time.
Result<std::string> Bundle::Select(const std::string& tree, const std::string& selector,
                                   const std::string& place) {
  TRY_ASSIGN(sys::RootedPath root, sys::RootedPath::Open(tree));
  TRY_ASSIGN(Fd part, root.OpenPath(selector));
  TRY_ASSIGN(sys::FileInfo info, sys::StatFd(part.get()));
  if (info.IsDirectory()) {
    TRY(MakeDirectory(place, 0711));
  } else {
    TRY(OpenFile(place, O_WRONLY | O_CREAT | O_EXCL, 0600));
  }
  TRY_ASSIGN(sys::MountTree clone, sys::CloneTreeFd(part.get(), true));
  TRY_ASSIGN(sys::Mount attached, std::move(clone).AttachAt(place));
  attached_.push_back(std::move(attached));
  return place;
}

Status Bundle::MakeStubs() {
  std::vector<MountStubs::Point> points = points_;
  std::erase_if(points, [](const MountStubs::Point& point) {
    return std::any_of(std::begin(kCovered), std::end(kCovered),
                       [&](const char* covered) { return IsAtOrBelow(point.target, covered); });
  });
  TRY_ASSIGN(stubs_, MountStubs::Make(*root_, std::move(points), spec_.remove_stubs_recursively));
  return OkStatus();
}

// Part of the layer if it was missing. Inside a mount it is the runtime's to make, where the
// process sees it.
Status Bundle::MakeCwd() {
  std::string cwd = AbsoluteCwd(spec_.cwd);
  for (const char* covered : kCovered) {
    if (IsAtOrBelow(cwd, covered)) return OkStatus();
  }
  for (const SpecMount& mount : mounts_) {
    if (IsAtOrBelow(cwd, mount.target)) return OkStatus();
  }
  TRY_CTX(root_->MakeDirs(cwd, 0755, sys::RootedPath::Owner{user_.uid, user_.gid}),
          "working directory");
  return OkStatus();
}

Status Bundle::WriteConfig() {
  OciSpecInput input{.process = &spec_,
                     .id = id_,
                     .rootfs = path_ + "/rootfs",
                     .user = user_,
                     .mounts = mounts_,
                     .resolv_conf = resolv_conf_is_folder_ ? "" : path_ + "/resolv.conf",
                     .hosts = hosts_is_folder_ ? "" : path_ + "/hosts",
                     .cgroups_path = cgroups_path_,
                     .apparmor_profile = settings_.apparmor_profile,
                     .cgroup = settings_.cgroup,
                     .rootless = settings_.rootless,
                     .seccomp = settings_.seccomp,
                     .oom_score_adjustment = OwnOomScoreAdjustment()};
  if (spec_.security == SecurityMode::kInsecure) {
    TRY_ASSIGN(input.own_capabilities, OwnCapabilities());
  }
  // Holds the step's environment, and so perhaps a secret.
  return WriteOwnFile("config.json", MakeOciSpec(input), 0600);
}

Status Bundle::WriteOwnFile(const std::string& name, const std::string& text, mode_t mode) {
  std::string path = path_ + "/" + name;
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL, mode));
  if (fchmod(fd.get(), mode) != 0) return ErrnoError(errno, "change mode of {}", path);
  TRY_CTX(WriteAll(fd.get(), text), "write {}", path);
  return OkStatus();
}

Status Bundle::Close() {
  if (std::exchange(closed_, true)) return OkStatus();
  Status first = OkStatus();
  auto note = [&](Status status) {
    if (!status.ok() && first.ok()) first = std::move(status);
  };
  if (stubs_) note(stubs_->Remove());
  stubs_.reset();
  root_.reset();
  while (!attached_.empty()) {
    note(attached_.back().Unmount());
    attached_.pop_back();
  }
  note(sys::RemoveTree(path_));
  return first;
}

Bundle::~Bundle() {
  if (auto closed = Close(); !closed.ok()) LOG_ERROR("container {}: {}", id_, closed.error());
}

}  // namespace kiln::executor
