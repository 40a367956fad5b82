#pragma once

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "executor/process_spec.h"
#include "ops/exec_op.h"
#include "ops/services.h"
#include "progress/activity.h"
#include "session/agent_socket.h"
#include "store/ref.h"

namespace kiln::ops {

// The mounts of an exec op made ready: snapshots prepared, named directories opened, secrets
// fetched. Holds all that the run needs; what is not committed is thrown away.
class ExecMounts {
 public:
  static Result<ExecMounts> Prepare(const Services& services, const ExecServices& exec,
                                    const llb::Vertex& vertex, const progress::Activity& activity,
                                    const std::vector<store::SnapshotRef>& inputs);
  ExecMounts(ExecMounts&&) noexcept = default;

  // Root and mounts of the process.
  void FillIn(executor::ProcessSpec& spec);
  // One snapshot per mount with an output, in the order of the mounts. Once, after the run.
  Result<std::vector<store::SnapshotRef>> Commit() &&;

 private:
  class Preparer;
  // Yet to be committed.
  struct Pending {
    size_t active = 0;
    std::string dest;
  };

  ExecMounts(const Services& services, const llb::Vertex& vertex)
      : services_(&services), vertex_(&vertex) {}

  const Services* services_;
  const llb::Vertex* vertex_;
  sys::MountDescription root_;
  bool readonly_root_ = false;
  std::vector<executor::StepMount> mounts_;
  std::vector<store::ActiveSnapshot> actives_;
  std::vector<store::SnapshotRef> views_;
  std::map<std::string, store::NamedDir> caches_;  // by key: one hold, however often it is mounted
  std::vector<std::unique_ptr<session::AgentSocket>> agents_;
  std::vector<std::variant<store::SnapshotRef, Pending>> outputs_;
};

// Cache mounts of a step that is to ignore the cache: empty from now on, once for the whole build,
// so that what its earlier steps put there is found by later ones. Called when it is loaded.
Status RenewCaches(store::Store& store, const llb::Vertex& vertex);

// The name under which the solver locks a LOCKED cache mount.
std::string CacheLockName(const pb::Mount& mount);

}  // namespace kiln::ops
