#pragma once

namespace kiln::sys {

// What we may do to files in a directory of our own; found by trying (ProbeKernel). The default is
// what root has.
struct Privileges {
  // Overlay's marks are "user.overlay.*", because "trusted.*" may not be set in a user namespace.
  bool userxattr = false;
  bool can_chown = true;
  // Device nodes other than overlay's whiteouts, which everybody may make.
  bool can_mknod = true;
  bool operator==(const Privileges&) const = default;

  const char* opaque_attribute() const {
    return userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  }
};

}  // namespace kiln::sys
