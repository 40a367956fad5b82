"""Builds that have been: `kiln ls`, `kiln logs` and buildctl over the same records; `kiln du` and `kiln prune`."""

import json
import os
import re
import signal
import subprocess

import pytest
from kilntest import wait
from kilntest.build import Builder
from kilntest.clients import Buildx, Kiln

pytestmark = pytest.mark.kiln_only

FAILING = """\
FROM base
RUN echo first && seq 1 3000 && printf 'a\\033[31mred\\033[0m\\007\\n' && echo last
RUN echo about to fail; seq 1 500; exit 7
"""


class Here:
    """A root with an engine of its own, or a daemon: `kiln` runs a command there."""

    def __init__(self, kiln, where, build):
        self._kiln, self.where, self.build = kiln, where, build

    def kiln(self, command, *words, check=True):
        return self.build.client.run(command, *self.where, *words, check=check)

    def builds(self, *words):
        return [json.loads(line) for line in self.kiln("ls", "--format=json", *words).stdout.splitlines()]

    def records(self, *words):
        return [json.loads(line) for line in self.kiln("du", "--format=json", *words).stdout.splitlines()]


@pytest.fixture(params=["embedded", "daemon"])
def here(request, kiln, tmp_path, busybox_layout, unchanged_host):
    if request.param == "embedded":
        client, where = Kiln(kiln, root=tmp_path / "root"), ["--root", tmp_path / "root"]
    else:
        daemon = request.getfixturevalue("daemon")
        client, where = Kiln(kiln, address=daemon.address), ["--addr", daemon.address]
    return Here(kiln, where, Builder(client, busybox_layout, tmp_path / "build"))


def test_nothing_yet(here):
    assert here.builds() == []
    assert here.records() == []
    done = here.kiln("logs", check=False)
    assert done.returncode == 1
    assert "no build has been recorded" in done.stderr


def test_ls_and_logs(here, tmp_path):
    here.build("FROM base AS one\nRUN echo something >/x\n", target="one")
    failed = here.build(FAILING, check=False)
    assert failed.returncode == 1
    newest, oldest = here.builds()
    assert (newest["status"], oldest["status"]) == ("error", "completed")
    assert "exit code: 7" in newest["error"]
    assert newest["name"] == "context2" and oldest["name"] == "context1 (one)"
    assert oldest["totalSteps"] == oldest["completedSteps"] > 3
    assert [build["ref"] for build in here.builds("--filter", "status=error")] == [newest["ref"]]
    assert len(here.builds("-n", "1")) == 1
    heading, first, second = here.kiln("ls").stdout.splitlines()
    assert re.match(r"BUILD ID +NAME +STATUS +CREATED +DURATION +STEPS$", heading)
    assert re.match(rf"{newest['ref']} +context2 +error +(.* ago|just now) +[\d.]+s +\d+", first)
    # The command that the failure printed shows the whole log of the step.
    command = re.search(r"^The whole log of that step: kiln logs (.*)$", failed.stderr, re.M).group(1).split()
    shown = here.build.client.run("logs", *command).stdout
    assert shown.splitlines() == ["about to fail", *map(str, range(1, 501))]
    assert here.kiln("logs", newest["ref"][:8], "about to").stdout == shown
    # Raw for programs, escape sequences and all.
    assert here.kiln("logs", newest["ref"], "echo first").stdout.endswith("3000\na\x1b[31mred\x1b[0m\x07\nlast\n")
    # All of it, numbered as the build was.
    whole = here.kiln("logs").stdout
    assert f"#{command[-1]} [" in whole and "about to fail" in whole and "\x07" not in whole
    assert "3000" in whole and "exit code: 7" in whole
    events = [json.loads(line) for line in here.kiln("logs", "--progress=rawjson").stdout.splitlines()]
    assert any("logs" in event for event in events)


def test_what_clients_are_not_shown_is_in_the_log(here):
    """Clients see 2 MiB of a stream, the record has all of it."""
    done = here.build("FROM base\nRUN seq 1 500000 && echo end >&2 && exit 3\n", check=False)
    assert "output clipped, log limit" in done.stderr and "499999" in done.stderr
    shown = here.kiln("logs", "", "seq 1").stdout.splitlines()
    expected = [*map(str, range(1, 500001)), "end"]
    missing, extra = set(expected) - set(shown), set(shown) - set(expected)
    assert not missing and not extra, (len(missing), sorted(missing)[:5], len(extra), sorted(extra)[:5])
    assert [line for line in shown if line != "end"] == expected[:-1]


def test_logs_of_what_is_not_there(here):
    here.build("FROM base\nRUN echo one\nRUN echo two\n")
    for words, said in [
        (["nothing"], 'no build "nothing"'),
        (["", "xyz"], "echo two"),
        (["", "echo"], "may be any of"),
    ]:
        done = here.kiln("logs", *words, check=False)
        assert done.returncode == 1
        assert said in done.stderr


def test_logs_follow_a_build_under_way(daemon, kiln, tmp_path, busybox_layout, listener):
    build = Builder(Kiln(kiln, address=daemon.address), busybox_layout, tmp_path)
    files = {
        "Dockerfile": f"FROM base\nRUN echo hear me; echo here | nc 127.0.0.1 {listener.getsockname()[1]}; echo end\n"
    }
    running = build.client.start(build.request(files))
    connection, _ = listener.accept()
    here = Here(kiln, ["--addr", daemon.address], build)
    assert [one["status"] for one in here.builds()] == ["running"]
    words = [kiln, "logs", "--addr", daemon.address]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as following:
        for line in following.stdout:
            if "hear me" in line and "RUN" not in line:
                break
        connection.close()
        assert "end" in following.stdout.read()
        assert following.wait(20) == 0
    running.communicate(timeout=20)
    assert [one["status"] for one in here.builds()] == ["completed"]


def test_builds_of_every_client_are_recorded(daemon, kiln, buildctl, build, clients, tmp_path):
    build("FROM base\nRUN echo by buildctl\n")
    failed = build("FROM base\nRUN echo then; exit 5\n", check=False)
    assert failed.returncode != 0
    here = Here(kiln, ["--addr", daemon.address], Builder(Kiln(kiln, address=daemon.address), build.layout, tmp_path))
    newest, oldest = here.builds()
    assert here.kiln("logs", newest["ref"], "echo then").stdout == "then\n"
    histories = buildctl.run("debug", "histories").stdout
    assert newest["ref"] in histories and oldest["ref"] in histories
    assert "by buildctl" in buildctl.run("debug", "logs", oldest["ref"]).stdout
    pinned = buildctl.run("debug", "histories", "--format", "{{json .}}").stdout
    assert oldest["ref"] in pinned


def test_buildx_reads_the_history(daemon, clients, build, tmp_path):
    build("FROM base\nRUN echo said\n")
    build("FROM base\nRUN echo why; exit 6\n", check=False)
    buildx = Buildx(clients / "buildx", daemon.address, tmp_path / "buildx")
    where = ["history", "--builder", "kilntest"]
    listed = [json.loads(line) for line in buildx.run(*where, "ls", "--format", "json").stdout.splitlines()]
    assert [one["status"] for one in listed] == ["Error", "Completed"]
    failed, good = (one["ref"].rpartition("/")[2] for one in listed)
    logs = buildx.run(*where, "logs", "--progress=plain", good)
    assert "said" in logs.stdout + logs.stderr
    shown = buildx.run(*where, "inspect", failed)
    assert "exit code: 6" in shown.stdout and "why" in shown.stdout
    buildx.run(*where, "rm", good)
    assert len(buildx.run(*where, "ls", "--format", "json").stdout.splitlines()) == 1


def test_records_survive_a_restart_and_a_kill(daemon, kiln, build, tmp_path, listener):
    build("FROM base\nRUN echo kept\n")
    dockerfile = f"FROM base\nRUN echo cut; sleep 0.5; echo here | nc 127.0.0.1 {listener.getsockname()[1]}\n"
    running = build.client.start(build.request({"Dockerfile": dockerfile}))
    connection, _ = listener.accept()
    daemon.kill()
    running.communicate(timeout=20)
    connection.close()
    daemon.start()
    here = Here(kiln, ["--addr", daemon.address], Builder(Kiln(kiln, address=daemon.address), build.layout, tmp_path))
    cut, kept = here.builds()
    assert (cut["status"], kept["status"]) == ("error", "completed")
    assert "ended during this build" in cut["error"]
    assert here.kiln("logs", cut["ref"], "echo cut").stdout == "cut\n"
    assert here.kiln("logs", kept["ref"], "echo kept").stdout == "kept\n"


def test_old_records_go(new_daemon, kiln, tmp_path, busybox_layout):
    daemon = new_daemon(config='[history]\nmaxAge = "0s"\nmaxEntries = 2\n')
    client = Kiln(kiln, address=daemon.address)
    here = Here(kiln, ["--addr", daemon.address], Builder(client, busybox_layout, tmp_path))
    for number in range(4):
        here.build(f"FROM base\nRUN echo {number}\n")
    here.build.client.run("ls", "--addr", daemon.address)
    # The last one's collection may be under way.
    builds = wait.until(lambda: len(found := here.builds()) == 2 and found, "the older ones go")
    newest = [here.kiln("logs", one["ref"], "echo").stdout.strip() for one in builds]
    assert newest == ["3", "2"]
    assert len(list((daemon.root / "state/history").iterdir())) == 4


def test_du(here):
    here.build("FROM base\nRUN --mount=type=cache,target=/c head -c 300000 /dev/urandom >/c/big; echo made >/made\n")
    records = here.records()
    assert {record["type"] for record in records} >= {"regular", "exec.cachemount"}
    cache = here.records("--filter", "type=exec.cachemount")
    assert len(cache) == 1 and cache[0]["size"] > 300000 and cache[0]["mutable"]
    table = here.kiln("du").stdout.splitlines()
    assert re.match(r"ID +RECLAIMABLE +SIZE +LAST ACCESSED$", table[0])
    assert table[-1].startswith("Total:")
    assert len(table) >= len(records) + 3
    verbose = here.kiln("du", "--verbose", "--filter", "type=exec.cachemount").stdout
    assert "Description:   cached mount /c from exec" in verbose
    assert here.kiln("du", "--filter", "type=nothing").stdout.split() == ["Reclaimable:", "0B", "Total:", "0B"]
    assert here.records("--filter", "until=24h") == []


def test_prune(here):
    here.build("FROM base\nRUN --mount=type=cache,target=/c echo x >/c/x; head -c 400000 /dev/urandom >/made\n")
    before = here.records()
    assert here.kiln("prune", "-f", "--filter", "until=24h").stdout == "Total: 0B\n"
    assert here.kiln("prune", "-f", "--keep-storage", "10GB").stdout == "Total: 0B\n"
    assert here.kiln("prune", "-f", "--max-used-space", "10GB").stdout == "Total: 0B\n"
    assert len(here.records()) == len(before)
    said = here.kiln("prune", "-f", "--filter", "type=exec.cachemount").stdout.splitlines()
    assert len(said) == 3 and said[-1].startswith("Total: ")
    assert here.records("--filter", "type=exec.cachemount") == []
    assert here.records() != []
    here.kiln("prune", "--all", "--force")
    assert here.records() == []


def test_prune_asks(kiln, tmp_path, busybox_layout, unchanged_host):
    """As buildx: without --force nothing goes but by an answer, and an interrupt ends the question."""
    client = Kiln(kiln, root=tmp_path / "root")
    here = Here(kiln, ["--root", tmp_path / "root"], Builder(client, busybox_layout, tmp_path / "build"))
    here.build("FROM base\nRUN echo made >/made\n")
    words = [str(word) for word in [kiln, "prune", *here.where]]
    for answer, status in [("", 1), ("n\n", 1), ("\n", 1), ("y\n", 0)]:
        before = here.records()
        done = subprocess.run(words, input=answer, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert "Continue? [y/N]" in done.stderr
        assert ("--force" in done.stderr) == (answer == "")
        assert (here.records() == before) == (status != 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # These tests may run with some of them ignored (nohup, a shell's background), which programs inherit.
        with subprocess.Popen(
            ["env", "--default-signal", *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as asking:
            while b"[y/N]" not in os.read(asking.stderr.fileno(), 4096):
                pass
            asking.send_signal(number)
            assert asking.wait(10) == -number


@pytest.mark.parametrize(
    "words, said",
    [
        (["prune", "--keep-storage", "much"], "--reserved-space"),
        (["prune", "--keep-duration", "long"], "--keep-duration"),
        (["prune", "--filter", "until=x"], "until"),
        (["du", "--filter", "type~=("], "type"),
        (["du", "--format", "xml"], "--format"),
        (["ls", "--filter", "duration>x"], "duration"),
        (["ls", "-n", "-1"], "--limit"),
        (["logs", "--progress", "tty"], "--progress"),
        (["du", "--verbos"], "did you mean --verbose?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_values(kiln, tmp_path, words, said):
    words = [kiln, words[0], "--root", tmp_path / "root", *words[1:]]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr, done.stderr
