#!/usr/bin/env bash
# ccache takes settings from variables whose value does not matter: set is true, and CCACHE_NO… is how to say false. The
# values 0, no, false and disable are not read as false, nor ignored: ccache refuses to run, so each compilation fails.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian ccache=4.8+really4.7.5-1 gcc-12=12.2.0-14+deb12u1 libc6-dev binutils

echo 'int main(void) { return 0; }' >"$root/main.c"
compile() { # VARIABLE=VALUE
  result=compiled
  inside "$1" ccache gcc-12 -c /main.c -o /main.o 2>"$work/said" || result="failed: $(cat "$work/said")"
}
say "expected: 0 leaves ccache on, as without the variable; 1 turns it off"
compile CCACHE_DISABLE=1
expect "CCACHE_DISABLE=1" "$result" compiled
compile CCACHE_DISABLE=0
expect "CCACHE_DISABLE=0" "${result%%(*}" \
  'failed: ccache: error: CCACHE_DISABLE: invalid boolean environment variable value "0" '
compile CCACHE_NODISABLE=1
expect "CCACHE_NODISABLE=1" "$result" compiled
