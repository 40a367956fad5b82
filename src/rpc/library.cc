#include "rpc/library.h"

#include <absl/synchronization/mutex.h>
#include <grpc/grpc.h>

namespace kiln::rpc {

void KeepLibrary() {
  [[maybe_unused]] static const bool kept = [] {
    // Debian builds Abseil so that each lock of a mutex looks for deadlocks in a graph of all.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    grpc_init();  // without a grpc_shutdown
    return true;
  }();
}

}  // namespace kiln::rpc
