#pragma once

#include <sys/types.h>

#include <memory>

#include "base/result.h"
#include "sys/spawner.h"

namespace kiln::sys {

struct MainEarlyOptions {
  // Without privileges to unshare, carry on in the caller's mount namespace (client commands, unit
  // tests).
  bool mount_namespace_optional = false;
  bool private_mount_namespace = true;
};

struct Early {
  std::unique_ptr<Spawner> spawner;
  mode_t umask = 0;  // the caller's, for files that are made for the user
};

// The first thing a `main` that starts builds calls, before any thread exists: umask 0, SIGPIPE
// ignored, private mount namespace, closed standard descriptors opened on /dev/null, then forks the
// spawner. In this order. FailedPrecondition if there are threads already; PermissionDenied if we
// may not have a mount namespace.
Result<Early> MainEarly(const MainEarlyOptions& options = {});

// A mount namespace of our own into which the host's mounts propagate, but none of ours out. Where
// the root is no mount (after chroot), it becomes one. Single-threaded processes only.
Status EnterPrivateMountNamespace();

// Threads of this process.
Result<size_t> ThreadCount();

}  // namespace kiln::sys
