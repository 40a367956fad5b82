#!/usr/bin/env bash
# A file system image made of a folder has that folder as its root, one would think, with its owner, mode and time.
# mksquashfs does so, and tar2sqfs with a tar of it; mke2fs -d takes what is in the folder and makes a root of its own, and
# mksquashfs -tar passes over the root's entry, which `tar -C folder .` writes first ("Empty tar filename", it says): its
# root can be written by everybody, and has the time of the run, so the image is another each time. -root-mode says it by
# hand. Debian trixie's squashfs-tools 4.6.1 and e2fsprogs 1.47.2 do the same.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian squashfs-tools=1:4.5.1-1 squashfs-tools-ng=1.2.0-1 e2fsprogs=1.47.0-2+b2

mkdir "$root/folder"
echo content >"$root/folder/file"
chown 7:8 "$root/folder" "$root/folder/file"
chmod 0750 "$root/folder"
touch -d 2024-05-06T00:00:00Z "$root/folder/file" "$root/folder"
inside tar -C /folder -cf /folder.tar .
inside mksquashfs /folder /folder.squashfs -quiet -no-progress >"$work/log"
inside sh -c 'tar2sqfs --quiet /tar2sqfs.squashfs </folder.tar'
inside sh -c 'mksquashfs - /tar.squashfs -tar -quiet -no-progress </folder.tar' >"$work/log" 2>&1
inside truncate -s 4M /ext4
inside mke2fs -q -t ext4 -d /folder /ext4 2>"$work/log"

squashfs() { # IMAGE: mode, owner and day of its root
  inside env TZ=UTC unsquashfs -lln "$1" | awk '$NF == "squashfs-root" { print $1, $2, ($4 == "2024-05-06" ? $4 : "today") }'
}
ext4() { # mode, owner and day of the same
  inside env TZ=UTC debugfs -R 'stat /' /ext4 2>/dev/null | awk '
    /Mode:/ { mode = $6 } /User:/ { owner = $2 "/" $4 } / mtime:/ { day = /May  *6 .* 2024/ ? "2024-05-06" : "today" }
    END { print mode, owner, day }'
}
say "expected: a root of mode 0750, owned by 7 and group 8, of 2024-05-06"
expect "mksquashfs, of the folder" "$(squashfs /folder.squashfs)" "drwxr-x--- 7/8 2024-05-06"
expect "tar2sqfs, of a tar of the folder" "$(squashfs /tar2sqfs.squashfs)" "drwxr-x--- 7/8 2024-05-06"
expect "mksquashfs -tar, of the same tar" "$(squashfs /tar.squashfs)" "drwxrwxrwx 0/0 today"
expect "mke2fs -d, of the folder" "$(ext4)" "0755 0/0 today"
