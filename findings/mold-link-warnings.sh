#!/usr/bin/env bash
# glibc's archive marks functions that do not work as expected in static programs with sections named .gnu.warning.NAME.
# GNU ld prints their text where the function is used; mold, for the same command line, says nothing.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian gcc-12=12.2.0-14+deb12u1 libc6-dev binutils=2.40-2 mold=1.10.1+dfsg-1

cat >"$root/lookup.c" <<'C'
#include <netdb.h>
int main(void) {
  struct addrinfo* found = 0;
  return getaddrinfo("localhost", 0, 0, &found);
}
C
link_with() { # LINKER: how many warnings it prints
  inside gcc-12 -static "-fuse-ld=$1" /lookup.c -o "/lookup.$1" 2>"$work/said"
  warnings=$(grep -c "Using 'getaddrinfo' in statically linked applications" "$work/said" || true)
}
say "expected: one warning about getaddrinfo from each linker"
link_with bfd
expect "GNU ld" "$warnings warnings" "1 warnings"
link_with mold
expect "mold" "$warnings warnings" "0 warnings"
expect "the mark in glibc's archive" \
  "$(inside readelf -SW /usr/lib/x86_64-linux-gnu/libc.a | grep -o '\.gnu\.warning\.getaddrinfo' | sort -u)" \
  ".gnu.warning.getaddrinfo"
