#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "executor/etc_files.h"
#include "executor/executor.h"
#include "sys/kernel.h"
#include "sys/mounts.h"
#include "sys/spawner.h"

namespace kiln::executor {

struct OciRuntimeOptions {
  // Path or name of the runtime. Empty: the first of buildkit-runc, runc and crun that is installed
  // and works with this machine's cgroups.
  std::string binary;
  std::string state_dir;  // ours alone; made if missing
  std::vector<std::string>
      environment;  // of the runtime's processes: main's own, of which NOTIFY_SOCKET is dropped
  std::string cgroup_parent;
  std::string apparmor_profile;
  DnsConfig dns;
  bool rootless = false;
  // Between SIGTERM and SIGKILL when a step is cancelled, if the step's first process listens to
  // SIGTERM at all.
  std::chrono::nanoseconds grace = std::chrono::seconds(5);
};

// Containers by an OCI runtime (runtime-spec 1.0.2) that we call with a bundle.
class OciRuntime final : public Executor {
 public:
  // Finds the runtime. FailedPrecondition: none is installed, or none works here; says which were
  // tried and why not.
  static Result<std::unique_ptr<OciRuntime>> Create(OciRuntimeOptions options,
                                                    const sys::KernelFeatures& kernel,
                                                    sys::Mounter mounter, sys::Spawner& spawner);
  ~OciRuntime() override;

  Result<Outcome> Run(const ProcessSpec& spec, Stdio stdio,
                      const progress::Activity& activity) override;

  // Ends and removes what an earlier life left in the state directory. Call it once, before the
  // first Run.
  Status RecoverStale();

  const std::string& binary() const;
  // What it says of itself, "runc version 1.1.5 …". Starts it: blocks.
  Result<std::string> Version() const;

 private:
  struct Impl;
  explicit OciRuntime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kiln::executor
