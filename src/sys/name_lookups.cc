#include "sys/name_lookups.h"

#include <nss.h>

#include <initializer_list>

namespace kiln::sys {

void FixNameLookups() {
  // Both services are part of libc itself; no other is.
  __nss_configure_lookup("hosts", "files dns");
  for (const char* database :
       {"passwd", "group", "shadow", "gshadow", "initgroups", "services", "protocols", "networks",
        "netgroup", "ethers", "rpc", "aliases", "publickey"}) {
    __nss_configure_lookup(database, "files");
  }
}

}  // namespace kiln::sys
