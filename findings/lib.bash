#!/usr/bin/env bash
# For the scripts beside this one: a temporary folder, packages in it, and what is expected of them.
set -euo pipefail
work=$(mktemp -d "${TMPDIR:-/tmp}/finding.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

say() { printf '%s\n' "$*"; }

# expect WHAT SEEN WANTED: prints what is seen, and ends the script if that is not what this finding says.
expect() {
  say "seen: $1: $2"
  [ "$2" = "$3" ] || { say "changed: $1 was: $3"; exit 1; }
}

# debian PACKAGE=VERSION…: a Debian bookworm in $root with these packages; `inside COMMAND…` runs there.
root=$work/root
debian() {
  local IFS=,
  mmdebstrap --quiet --variant=minbase --include="$*" bookworm "$root" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  chroot "$root" dpkg-query -W "${@%%=*}"
}
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }

# python PACKAGE==VERSION…: a Python environment in $work/venv with these packages.
python() {
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
  "$work/venv/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -iE "^($(IFS='|'; echo "${*%%==*}")) "
}

# npm PACKAGE@VERSION…: these packages of npm's in $work/node; a module in that folder imports them by name.
npm() {
  mkdir -p "$work/node"
  (cd "$work/node" && command npm install --silent --no-audit --no-fund --no-package-lock "$@" >"$work/log" 2>&1) ||
    { cat "$work/log"; exit 1; }
  say "node $(node --version)"
  (cd "$work/node" && command npm ls --depth=0 | grep -o '[^ ]*@[0-9].*')
}
