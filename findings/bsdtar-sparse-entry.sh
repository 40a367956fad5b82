#!/usr/bin/env bash
# bsdtar asks the file system where a file has holes, and without being told to it writes such a file as GNU tar does with
# --sparse: a map of the holes, then the rest, under the name GNUSparseFile.0/NAME, with the true name and size in PAX
# records. A reader that does not know those records, as npm's own tar does not, finds a well-formed file of another name
# and other content, and reports nothing. Whether a file has holes, `ls` and `sha256sum` do not show: an image of a disk
# or a database has some, its copy may have none. bsdtar --no-read-sparse writes it as it is.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian libarchive-tools=3.6.2-1+deb12u5
npm tar@7.5.23 tar-stream@3.2.2

inside mkdir /files
inside truncate -s 1M /files/plain
printf end | inside dd of=/files/plain bs=1 seek=1048573 conv=notrunc status=none
inside cp --sparse=never /files/plain /plain # the same bytes, none of them a hole
inside bsdtar -cf /full.tar plain
inside bsdtar -cf /holes.tar -C /files plain
inside bsdtar -cf /asked.tar --no-read-sparse -C /files plain
cp "$root"/*.tar "$work"
cat >"$work/node/read.mjs" <<'JS'
import fs from 'node:fs'
import * as tar from 'tar'
import { extract } from 'tar-stream'

const [file, folder] = process.argv.slice(2)
const reader = extract()
fs.createReadStream(file).pipe(reader)
const seen = []
for await (const entry of reader) {
  let length = 0
  for await (const part of entry) length += part.length
  seen.push(`${entry.header.name} ${length}`)
}
fs.mkdirSync(folder)
await tar.extract({ file, cwd: folder, strict: true })
for (const name of fs.readdirSync(folder, { recursive: true })) {
  const stat = fs.statSync(`${folder}/${name}`)
  if (stat.isFile()) seen.push(`${name} ${stat.size}`)
}
console.log(seen.join(', '))
JS
read_with_node() { (cd "$work/node" && node read.mjs "$work/$1.tar" "$work/$1"); }
say "expected: plain, of 1048576 bytes, with each reader"
expect "bsdtar's list" "$(inside bsdtar -tvf /holes.tar | tr -s ' ' | cut -d' ' -f5,9)" "1048576 plain"
expect "tar-stream, tar: no holes" "$(read_with_node full)" "plain 1048576, plain 1048576"
expect "tar-stream, tar: holes" "$(read_with_node holes)" "GNUSparseFile.0/plain 4608, GNUSparseFile.0/plain 4608"
expect "tar-stream, tar: holes, --no-read-sparse" "$(read_with_node asked)" "plain 1048576, plain 1048576"
