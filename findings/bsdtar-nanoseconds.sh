#!/usr/bin/env bash
# bsdtar's format is "restricted pax": an entry has PAX records only if something in it cannot be said without them. A
# fraction of a second is no reason, but it is among the records if there is another one. So of files that were written
# at the same moment those with a long name, an extended attribute or a hole keep their nanoseconds, and the others lose
# them. Whoever compares times of an unpacked tree with the original finds a few files equal and cannot see why. With
# --format=pax all keep them.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian libarchive-tools=3.6.2-1+deb12u5

long=$(printf 'n%.0s' {1..101})
mkdir "$root/files" "$root/default" "$root/pax"
touch -d '2024-05-06 07:08:09.123456789Z' "$root/files/short" "$root/files/$long"
fractions() { # FOLDER, for bsdtar's OPTIONS…: what is left of the fraction, of the short name and of the long one
  local folder=$1
  shift
  inside bsdtar -cf "/$folder.tar" "$@" -C /files short "$long"
  inside bsdtar -xf "/$folder.tar" -C "/$folder"
  fractions=$(stat -c %y "$root/$folder/short" "$root/$folder/$long" | sed -E 's/.*\.([0-9]+) .*/.\1/' | xargs)
}
say "expected: both files keep the nanoseconds, or both lose them"
fractions default
expect "a name of 5 letters, one of 101" "$fractions" ".000000000 .123456789"
fractions pax --format=pax
expect "the same with --format=pax" "$fractions" ".123456789 .123456789"
