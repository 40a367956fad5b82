#pragma once

namespace kiln::sys {

// From now on host names are looked up in /etc/hosts and then by DNS (resolv.conf), users and
// groups in their files, whatever nsswitch.conf says. A static program would load the modules named
// there, which were made for the machine's own libc and not for the one inside us. Call it first in
// main().
void FixNameLookups();

}  // namespace kiln::sys
