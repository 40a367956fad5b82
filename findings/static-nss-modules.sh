#!/usr/bin/env bash
# A static program has all of libc in it, and yet getpwnam() opens the shared libraries that /etc/nsswitch.conf of the
# machine names: code made for another libc, inside a program that has no other code of that machine. Only the services
# "files" and "dns" are part of libc.a since glibc 2.34, and __nss_configure_lookup, called first, keeps to those.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian gcc-12=12.2.0-14+deb12u1 libc6-dev binutils

cat >"$root/user.c" <<'C'
#include <nss.h>
#include <pwd.h>
#include <stddef.h>
int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) __nss_configure_lookup("passwd", "files");
  return getpwnam("nobody-of-that-name") != NULL;
}
C
# A module that offers nothing but the news that it is loaded.
cat >"$root/module.c" <<'C'
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
  if (write(1, "loaded\n", 7) != 7) _exit(2);
}
C
inside gcc-12 -static /user.c -o /user 2>/dev/null
inside gcc-12 -shared -fPIC /module.c -o /usr/lib/x86_64-linux-gnu/libnss_finding.so.2
echo "passwd: files finding" >"$root/etc/nsswitch.conf"
say "glibc $(inside dpkg-query -W libc6)"
say "expected: nothing is loaded by a program of which ldd says: $(inside ldd /user 2>&1 | xargs || true)"
expect "getpwnam in a static program" "$(inside /user || true)" "loaded"
expect "the same after __nss_configure_lookup" "$(inside /user fixed || true)" ""
