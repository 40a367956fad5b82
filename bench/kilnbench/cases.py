"""What is compared. A case takes (lab, table, rounds) and adds its lines to the table."""

import socket
import subprocess
import time

from kilntest.daemon import Daemon
from kilntest.registry import Registry
from kilntest.request import Request, write_context

from kilnbench import inputs
from kilnbench.lab import BUILDKITD, KILND, settle
from kilnbench.runtime import bare_runtime_seconds
from kilnbench.table import Budget, Line

MS = 0.001
MIB = 1 << 20


def _dockerfile(lab, text):
    return write_context(lab.path("context"), {"Dockerfile": text})


def _steps(base, nonce, count):
    runs = "".join(f"RUN echo {index} > /f\n" for index in range(count))
    return f"FROM {base}\nENV NONCE={nonce}\n{runs}"


def steps(lab, table, rounds):
    """1, 20 and 100 RUN steps, cold and cached, and from them what one more step costs."""
    layout = inputs.base_layout(lab.path("base"))
    counts = (1, 20) if lab.quick else (1, 20, 100)
    budgets = {20: (Budget(1 / 3), Budget(value=20 * MS))}
    cold = {count: Line(f"{count} RUN steps, cold") for count in counts}
    cached = {count: Line(f"{count} RUN steps, cached", "s", *budgets.get(count, ())) for count in counts}
    runtime = [bare_runtime_seconds(lab.path("runtime")) for _ in range(20)]
    runtime = sorted(runtime)[len(runtime) // 2]
    one = Line(f"one more RUN step (runc alone: {runtime * 1000:.0f} ms)", "s", *[Budget(value=runtime + 5 * MS)] * 2)
    memory = Line(f"{counts[-1]} RUN steps, cold: peak memory", "bytes")
    with lab.sides() as sides:
        for side in sides:  # whoever comes first would pay for reading programs from the disk
            side.build(Request(_dockerfile(lab, _steps("base", lab.unique(), 1)), contexts={"base": layout}))
        for _ in range(rounds):
            nonce = lab.unique()
            seconds = {}
            for count in counts:
                context = _dockerfile(lab, _steps("base", nonce + f"-{count}", count))
                request = Request(context, contexts={"base": layout})
                for side in lab.in_turn(sides):
                    measured = side.build(request)
                    seconds[side.name, count] = measured.seconds
                    table.add_build(cold[count], side.name, measured)
                    if count == counts[-1]:
                        table.add(memory, side.name, measured.peak_bytes)
                for _ in range(5):
                    for side in lab.in_turn(sides):
                        table.add_build(cached[count], side.name, side.build(request))
            few, many = counts[-2:]
            for side in sides:
                each = (seconds[side.name, many] - seconds[side.name, few]) / (many - few)
                table.add(one, side.name, each)


def stages(lab, table, rounds):
    """40 stages that depend on nothing but their base."""
    layout = inputs.base_layout(lab.path("base"))
    line = Line("40 parallel stages")
    with lab.sides() as sides:
        for _ in range(rounds):
            nonce = lab.unique()
            text = "".join(
                f"FROM base AS s{index}\nENV NONCE={nonce}\nRUN echo {index} > /out\n" for index in range(40)
            )
            text += "FROM scratch\n" + "".join(f"COPY --from=s{index} /out /o{index}\n" for index in range(40))
            request = Request(_dockerfile(lab, text), contexts={"base": layout})
            for side in lab.in_turn(sides):
                table.add_build(line, side.name, side.build(request))


def logs(lab, table, rounds):
    """A step that prints very many short lines."""
    layout = inputs.base_layout(lab.path("base"))
    count = 100_000 if lab.quick else 1_000_000
    line, memory = Line(f"{count:,} lines of output"), Line(f"{count:,} lines of output: peak memory", "bytes")
    with lab.sides() as sides:
        for _ in range(rounds):
            text = f"FROM base\nENV NONCE={lab.unique()}\nRUN seq {count}\n"
            request = Request(_dockerfile(lab, text), contexts={"base": layout})
            for side in lab.in_turn(sides):
                measured = side.build(request)
                table.add_build(line, side.name, measured)
                table.add(memory, side.name, measured.peak_bytes)


def context(lab, table, rounds):
    """Many small files: sent for the first time, again, and again with one changed."""
    count = 5_000 if lab.quick else 50_000
    what = f"context of {count:,} files"
    first = Line(f"{what}, first", "s", Budget(), Budget(1 / 4))
    unchanged = Line(f"{what}, unchanged", "s", Budget(), Budget(1 / 5))
    changed = Line(f"{what}, one changed", "s", Budget(), Budget(1 / 10))
    memory = Line(f"{what}, first: peak memory", "bytes")
    folder = lab.path("files")
    inputs.small_files(folder, count)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    victim = folder / "d0001/f000123.txt"
    request = Request(folder)
    for _ in range(rounds):
        with lab.sides() as sides:
            for side in lab.in_turn(sides):
                measured = side.build(request)
                table.add_build(first, side.name, measured)
                table.add(memory, side.name, measured.peak_bytes)
            for _ in range(2):
                for side in lab.in_turn(sides):
                    table.add_build(unchanged, side.name, side.build(request))
            victim.write_text(lab.unique())
            for side in lab.in_turn(sides):
                table.add_build(changed, side.name, side.build(request))


def push(lab, table, rounds):
    """A big layer made by a step, compressed and pushed; seconds and bytes."""
    size = 128 if lab.quick else 1024
    layout = inputs.base_layout(lab.path("base"))
    big = lab.path("big")
    inputs.big_files(big, size)
    ratios = {"gzip": 1 / 4, "zstd": 1 / 2, "uncompressed": 1.0}
    for _ in range(rounds):
        for compression, ratio in ratios.items():
            line = Line(f"push {size} MiB, {compression}", "s", Budget(ratio), Budget(ratio))
            memory = Line(f"push {size} MiB, {compression}: peak memory", "bytes")
            bytes_line = Line(f"push {size} MiB, {compression}: bytes", "bytes", Budget(1.15), Budget(1.15))
            text = f"FROM base\nRUN --mount=from=big,target=/src cp -r /src /big && echo {lab.unique()} > /n\n"
            with lab.corner(), lab.sides() as sides, Registry(lab.path("registry")) as registry:
                request = Request(_dockerfile(lab, text), contexts={"base": layout, "big": big})
                for side in lab.in_turn(sides):
                    request.outputs = []
                    side.build(request)
                    name = f"{side.name.replace(' ', '-')}:latest"
                    attributes = f"compression={compression},force-compression=true"
                    request.outputs = [f"type=image,name={registry.host}/{name},push=true,{attributes}"]
                    settle()
                    measured = side.build(request, check=side.name == BUILDKITD)
                    if measured.failure:
                        table.note(line, side.name, "not served")
                        continue
                    table.add_build(line, side.name, measured)
                    table.add(memory, side.name, measured.peak_bytes)
                    manifest, _ = registry.manifest(name.partition(":")[0], "latest")
                    table.add(bytes_line, side.name, manifest["layers"][-1]["size"])


def export(lab, table, rounds):
    """A result of many small files, to a folder and to a tar."""
    count = 5_000 if lab.quick else 50_000
    layout = inputs.base_layout(lab.path("base"))
    line = {
        "local": Line(f"local export of {count:,} files", "s", Budget(1 / 3), Budget(1 / 3)),
        "tar": Line(f"tar export of {count:,} files"),
    }
    script = f"""\
FROM base AS made
RUN i=0; while [ $i -lt {count} ]; do d=/out/d$((i / 100)); [ -d $d ] || mkdir -p $d; \
echo "file $i" > $d/f$i; i=$((i + 1)); done
FROM scratch
COPY --from=made /out /
"""
    request = Request(_dockerfile(lab, script), contexts={"base": layout})
    with lab.sides() as sides:
        for side in sides:
            request.outputs = []
            side.build(request)
        for _ in range(rounds):
            for kind in line:
                for side in lab.in_turn(sides):
                    out = lab.path("out")
                    request.outputs = [f"type={kind},dest={out}"]
                    measured = side.build(request, check=side.name == BUILDKITD)
                    if measured.failure:
                        table.note(line[kind], side.name, "not served")
                        continue
                    table.add_build(line[kind], side.name, measured)


def pull(lab, table, rounds):
    """An image with a big layer, pulled and unpacked because a step runs in it."""
    size = 128 if lab.quick else 1024
    line = Line(f"pull and unpack {size} MiB")
    memory = Line(f"pull and unpack {size} MiB: peak memory", "bytes")
    layout = lab.path("layout")
    inputs.big_layout(layout, size)
    with Registry(lab.path("registry")) as registry:
        registry.push_layout(layout, "latest", "big:latest")
        text = f"FROM {registry.host}/big:latest\nRUN echo > /n\n"
        request = Request(_dockerfile(lab, text))
        for _ in range(rounds):
            with lab.sides() as sides:
                for side in lab.in_turn(sides):
                    settle()
                    measured = side.build(request)
                    table.add_build(line, side.name, measured)
                    table.add(memory, side.name, measured.peak_bytes)


HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def _answers(path):
    """Whether a gRPC server answers there."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.settimeout(5)
            connection.sendall(HTTP2_HELLO)
            return len(connection.recv(9)) == 9
    except OSError:
        return False


def _start_seconds(daemon):
    with daemon.log.open("ab") as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in daemon._command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    daemon._process = process
    while not _answers(daemon.root / "daemon.sock"):
        assert process.poll() is None, daemon.log.read_text()
        time.sleep(0.0005)
    return time.perf_counter() - start


def start(lab, table, rounds):
    """From the daemon's start to its first answer; then what it holds when nothing happens, and after one build."""
    fresh = Line("start to ready, no state", "s", Budget(value=20 * MS))
    again = Line("start to ready, with state", "s", Budget(value=20 * MS))
    idle = Line("idle memory", "bytes", Budget(value=12 * MIB))
    anonymous = Line("idle memory, without pages of files", "bytes")
    after = Line("idle memory after 20 steps", "bytes")
    layout = inputs.base_layout(lab.path("base"))
    names = [name for name in lab.names if name in (BUILDKITD, KILND)]
    for _ in range(rounds):
        with lab.sides(*names) as sides:
            request = Request(_dockerfile(lab, _steps("base", lab.unique(), 20)), contexts={"base": layout})
            for side in lab.in_turn(sides):
                side.build(request)
                time.sleep(1)
                table.add(after, side.name, side.resident_bytes())
            for _ in range(3):
                for side in lab.in_turn(sides):
                    side.daemon.stop()
                    other = Daemon(side.daemon._command[0], lab.path("fresh"))
                    table.add(fresh, side.name, _start_seconds(other))
                    time.sleep(1)
                    kept, side.daemon = side.daemon, other
                    table.add(idle, side.name, side.resident_bytes())
                    table.add(anonymous, side.name, side.resident_bytes("RssAnon"))
                    other.stop()
                    side.daemon = kept
                    table.add(again, side.name, _start_seconds(kept))


CASES = {
    "start": start,
    "steps": steps,
    "stages": stages,
    "logs": logs,
    "context": context,
    "export": export,
    "pull": pull,
    "push": push,
}
