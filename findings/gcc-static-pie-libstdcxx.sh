#!/usr/bin/env bash
# g++ -static-pie -static-libstdc++: -static-libstdc++ is done by -Bstatic … -Bdynamic around -lstdc++, and the second of
# them holds for the rest of the line, so libc.so.6 is found where libc.a was meant. -static-pie has already left out the
# program's loader. gcc and ld report nothing, and the program ends with a signal before main. With -static, which has ld
# look for archives alone, the same flag does no harm.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian g++-12=12.2.0-14+deb12u1 libc6-dev binutils

printf '#include <cstdio>\nint main() { std::puts("hello"); }\n' >"$root/hello.cc"
try() { # FLAGS…: what the program needs, and says
  local said
  inside g++-12 "$@" /hello.cc -o /hello
  needed=$(inside readelf -d /hello | grep -c 'NEEDED' || true)
  loader=$(inside readelf -l /hello | grep -c INTERP || true)
  said=$(inside /hello 2>/dev/null) || said="does not start"
  result="linked, $needed shared libraries, $loader loaders, $said"
}
say "expected: a static program that says hello, three times"
try -static-pie
expect "-static-pie" "$result" "linked, 0 shared libraries, 0 loaders, hello"
try -static -static-libstdc++
expect "-static -static-libstdc++" "$result" "linked, 0 shared libraries, 0 loaders, hello"
try -static-pie -static-libstdc++
expect "-static-pie -static-libstdc++" "$result" "linked, 1 shared libraries, 0 loaders, does not start"
