"""kiln with the kernels that people have: Debian's 6.1, which overlayfs has learnt much since, and 6.12."""

import pathlib

import guest
import pytest
from kilntest import paths

SERIES = ("6.1", "6.12")
HELLO = [(paths.ROOT / "examples/hello", "/kiln/examples/hello")]
BUILDS = [
    (pathlib.Path(__file__).with_name("builds"), "/kiln/builds"),
    (paths.ROOT / "examples/hello/make-base", "/kiln/make-base"),
]
# Modules whose unit tests ask much of the kernel, with the MB of memory and the programs beside them that they need.
UNITS = {
    "sys": (1024, ["sys_child", "sys_owner"]),
    "executor": (768, []),
    "store": (2048, []),
    "ops": (1024, []),
}


def run(series, command, *, programs=(), **settings):
    kiln = paths.kiln()
    outcome = guest.run(series, command, programs=[(kiln, "/usr/bin/kiln"), *programs], **settings)
    assert outcome.status == 0, outcome.output
    return outcome.output


def hello(series, **settings):
    command = "KILN=/usr/bin/kiln KILN_EXAMPLE=/work /kiln/examples/hello/run && kiln --debug du --root /work/state"
    said = run(series, command, files=HELLO, **settings)
    assert " steps cached, the same image" in said, said
    return said


@pytest.mark.kiln_only  # buildkitd has no business in it
def test_hello_on_debian_stable():
    said = hello("6.1")
    assert "kernel 6.1: a mount stacks at most 170 layers in place of 500" in said, said


@pytest.mark.heavy
@pytest.mark.kiln_only
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cgroups", ("v2", "hybrid"))
@pytest.mark.parametrize("series", SERIES)
def test_hello(series, cgroups):
    hello(series, cgroups=cgroups, timeout=800)


@pytest.mark.heavy
@pytest.mark.kiln_only
@pytest.mark.timeout(900)
def test_hello_without_overlayfs():
    said = hello("6.1", overlay=False, memory_mb=768, timeout=800)
    assert "kernel 6.1: overlayfs does not work here" in said, said


@pytest.mark.heavy
@pytest.mark.kiln_only
@pytest.mark.timeout(900)
@pytest.mark.parametrize("snapshotter", ("overlayfs", "native"))
@pytest.mark.parametrize("cgroups", ("v2", "hybrid"))
@pytest.mark.parametrize("series", SERIES)
def test_builds(series, cgroups, snapshotter):
    said = run(series, f"/kiln/builds {snapshotter}", files=BUILDS, cgroups=cgroups, memory_mb=1024, timeout=800)
    assert f"builds: all 13 are right ({snapshotter})" in said, said


@pytest.mark.heavy
@pytest.mark.kiln_only
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cgroups", ("v2", "hybrid"))
@pytest.mark.parametrize("module", UNITS)
def test_unit_tests(module, cgroups):
    memory_mb, beside = UNITS[module]
    folder = paths.kiln().parent / "bin"
    programs = [(folder / name, f"/kiln/bin/{name}") for name in (f"{module}_test", *beside)]
    command = f"cd /kiln && bin/{module}_test --gtest_brief=1"
    said = run("6.1", command, programs=programs, cgroups=cgroups, memory_mb=memory_mb, timeout=1700)
    assert "[  PASSED  ]" in said, said


@pytest.mark.heavy
@pytest.mark.kiln_only
@pytest.mark.timeout(300)
def test_no_cgroups_at_all():
    """The runtime refuses; that it would is said at the start."""
    outcome = guest.run(
        "6.1",
        "KILN=/usr/bin/kiln KILN_EXAMPLE=/work /kiln/examples/hello/run",
        programs=[(paths.kiln(), "/usr/bin/kiln")],
        files=HELLO,
        cgroups="none",
        timeout=280,
    )
    assert outcome.status not in (0, None), outcome.output
    assert "kernel 6.1: no cgroup file system is mounted" in outcome.output
