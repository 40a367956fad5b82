#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "executor/mount_stubs.h"
#include "executor/oci_spec.h"
#include "executor/process_spec.h"
#include "sys/mounts.h"

namespace kiln::executor {

// What all bundles of one runtime share.
struct BundleSettings {
  std::string directory;  // bundles lie in it
  sys::CgroupMode cgroup = sys::CgroupMode::kNone;
  std::string cgroup_parent;
  std::string apparmor_profile;
  bool rootless = false;
  bool seccomp = true;
};

// A container's directory: config.json, the mounted root file system and what else is bound. Undone
// step by step when destroyed.
class Bundle {
 public:
  struct EtcTexts {
    std::string resolv_conf;
    std::string hosts;
  };

  static Result<std::unique_ptr<Bundle>> Create(const BundleSettings& settings,
                                                const sys::Mounter& mounter,
                                                const ProcessSpec& spec, const EtcTexts& etc,
                                                std::string id);
  ~Bundle();
  Bundle(const Bundle&) = delete;
  Bundle& operator=(const Bundle&) = delete;

  // Removes mount points from the root, unmounts, removes the directory. Once; the destructor logs
  // what would be said here.
  Status Close();

  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  std::string log_file() const { return path_ + "/runtime.log"; }
  const std::string& cgroups_path() const { return cgroups_path_; }

 private:
  Bundle(const BundleSettings& settings, const sys::Mounter& mounter, const ProcessSpec& spec,
         std::string id);

  Status Fill(const EtcTexts& etc);
  Status MountRoot();
  Result<bool> HasFolder(const std::string& path) const;
  Status PrepareMounts();
  Result<SpecMount> Prepare(const StepMount& mount, size_t number);
  Result<SpecMount> PrepareSecret(const StepMount& mount, const SecretFile& secret,
                                  const std::string& place);
  Result<SpecMount> PrepareTree(const StepMount& mount, const sys::MountDescription& tree,
                                const std::string& place);
  Result<std::string> Select(const std::string& tree, const std::string& selector,
                             const std::string& place);
  Status MakeStubs();
  Status MakeCwd();
  Status WriteConfig();
  Status WriteOwnFile(const std::string& name, const std::string& text, mode_t mode);

  const BundleSettings& settings_;
  const sys::Mounter& mounter_;
  const ProcessSpec& spec_;
  const std::string id_;
  const std::string path_;
  const std::string cgroups_path_;
  bool closed_ = false;

  std::optional<sys::RootedPath> root_;
  bool hosts_is_folder_ = false;
  bool resolv_conf_is_folder_ = false;
  UserIds user_;
  std::vector<sys::Mount> attached_;  // in the order made
  std::vector<SpecMount> mounts_;
  std::vector<MountStubs::Point> points_;
  std::optional<MountStubs> stubs_;
};

}  // namespace kiln::executor
