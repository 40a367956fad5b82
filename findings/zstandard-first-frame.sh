#!/usr/bin/env bash
# A zstd file may be several frames, one after the other. `cat a.zst b.zst` and pzstd make such files; pzstd puts a frame of
# notes, to be skipped, before each of its own. The zstd command reads them all as one, as gzip does with its members. So do
# some functions of Python's zstandard; its decompress(), read_to_iter() and decompressobj() end with the first frame, and
# what follows counts as data that is allowed to be there: a part of the content, and no error. If a frame to be skipped
# comes first, the two that stream give nothing at all. With allow_extra_data=False decompress() says that there is more.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
python zstandard==0.25.0 backports.zstd==1.8.0

cat >"$work/read.py" <<'PY'
import io
import struct

import zstandard
from backports import zstd

half = bytes(1000)
both = zstandard.ZstdCompressor().compress(half) * 2
note = struct.pack("<II4s", 0x184D2A50, 4, b"note")
reader = zstandard.ZstdDecompressor()
copied = io.BytesIO()
reader.copy_stream(io.BytesIO(both), copied)
print(len(zstd.decompress(both)))
print(len(copied.getvalue()))
print(len(reader.stream_reader(io.BytesIO(both)).read()))
print(len(reader.decompress(both)))
print(sum(map(len, reader.read_to_iter(io.BytesIO(both)))))
print(len(reader.decompressobj().decompress(both)))
print(len(zstd.decompress(note + both)))
print(sum(map(len, reader.read_to_iter(io.BytesIO(note + both)))))
try:
    reader.decompress(both, allow_extra_data=False)
except zstandard.ZstdError:
    print("an error")
PY
say "expected: 2000 bytes of two frames of 1000 each, or an error"
mapfile -t read < <("$work/venv/bin/python" "$work/read.py")
expect "decompress of Python's own module (its backport)" "${read[0]}" 2000
expect "zstandard, copy_stream" "${read[1]}" 2000
expect "zstandard, stream_reader" "${read[2]}" 2000
expect "zstandard, decompress" "${read[3]}" 1000
expect "zstandard, read_to_iter" "${read[4]}" 1000
expect "zstandard, decompressobj" "${read[5]}" 1000
expect "Python's own, a note before them" "${read[6]}" 2000
expect "zstandard, read_to_iter, a note before them" "${read[7]}" 0
expect "zstandard, decompress with allow_extra_data=False" "${read[8]}" "an error"
