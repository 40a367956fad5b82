#pragma once

#include <string>
#include <vector>

#include "cdi/registry.h"
#include "executor/executor.h"
#include "oci/platform.h"
#include "ops/factory.h"
#include "ops/step_log.h"
#include "ops/step_secrets.h"

namespace kiln::ops {

// What exec ops need beside the common services; all of it outlives all ops.
struct ExecServices {
  executor::Executor* executor = nullptr;
  StepSecrets* secrets = nullptr;
  std::string socket_dir;  // for SSH agents' sockets; ours, made if missing
  executor::NetworkMode default_network = executor::NetworkMode::kHost;
  // What this machine runs by itself or through binfmt_misc. Processes of other platforms are
  // started by `buildkit-qemu-<arch>` from one of these directories, if it is there. No platforms:
  // everything is tried as it is.
  std::vector<oci::Platform> platforms;
  std::vector<std::string> emulator_dirs;
  LogLimits log_limits;
  cdi::Registry* devices = nullptr;  // null: there are none
};

// RUN: a process in a container, on snapshots. Entitlements are the loader's to check.
Result<solver::OpPtr> MakeExecOp(const Services& services, const ExecServices& exec,
                                 const llb::Vertex& vertex, const OpOptions& options);

// For Factory::Register(llb::OpKind::kExec, …).
OpMaker ExecOpMaker(const Services& services, const ExecServices& exec);

}  // namespace kiln::ops
