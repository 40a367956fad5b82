#include "executor/testing/busybox_root.h"

#include "base/check.h"
#include "base/fd.h"
#include "sys/rooted_path.h"

namespace kiln::executor {

void FillBusyboxRoot(const std::string& directory) {
  auto busybox = ReadFile("/bin/busybox");
  CHECK_MSG(busybox.ok(), "busybox-static is not installed");
  sys::RootedPath root = sys::RootedPath::Open(directory).value();
  for (const char* path : {"bin", "etc", "tmp", "dev", "proc", "sys", "home/bob"})
    CHECK(root.MakeDirs(path).ok());
  CHECK(root.Chmod("tmp", 01777).ok());
  CHECK(root.WriteFile("bin/busybox", *busybox, 0755).ok());
  for (const char* applet :
       {"sh",        "cat",    "ls",   "id",    "grep",   "sleep",    "echo",
        "hostname",  "pwd",    "env",  "head",  "mkdir",  "touch",    "rm",
        "stat",      "mount",  "true", "false", "seq",    "kill",     "unshare",
        "ip",        "chroot", "dd",   "wc",    "ln",     "chown",    "test",
        "sha256sum", "find",   "sort", "tr",    "ulimit", "readlink", "umount",
        "mknod",     "chmod",  "cp",   "mv",    "date",   "nc",       "usleep"}) {
    CHECK(root.Symlink("busybox", std::string("bin/") + applet).ok());
  }
  CHECK(root.WriteFile("etc/passwd",
                       "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/"
                       "false\nbob:x:1000:1000::/home/bob:/bin/sh\n")
            .ok());
  CHECK(root.WriteFile("etc/group",
                       "root:x:0:\nwheel:x:10:root\nbob:x:1000:\nstaff:x:50:bob,daemon\n")
            .ok());
}

}  // namespace kiln::executor
