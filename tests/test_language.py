"""The Dockerfile language: every case of language/ is turned into the same graph, image configuration and error as by
the real daemon, whose answers stand in language/record.jsonl (`--daemon buildkitd --accept-golden` writes it)."""

import contextlib
import json

import pytest
from kilntest import language
from kilntest.daemon import Daemon
from kilntest.registry import Registry
from kilntest.webserver import WebServer

pytestmark = pytest.mark.timeout(400)  # the first test asks for all
RULES = language.rules()
CASES = language.cases()
DIFFERENCES = language.differences()
MIRROR = '[registry."docker.io"]\nmirrors = ["{host}"]\n'


@contextlib.contextmanager
def world(folder):
    """What the cases refer to: images in a registry, pages of a web server. Yields them and the
    images' digests by name."""
    layout, digests = language.write_images(folder / "images")
    with Registry(folder / "registry") as registry, WebServer() as web:
        for name in {*digests.keys(), "0"} - {"layer"}:
            registry.push_layout(layout.path, name, f"library/{name}:latest")
        web.pages.update(language.pages())
        yield registry, web, digests


def ask_daemon(world, program, peer, folder, cases):
    registry, web, digests = world
    config = MIRROR.format(host=registry.host)
    arguments = [f"--allow-insecure-entitlement={name}" for name in ("network.host", "security.insecure")]
    options = {"registries": [registry.host], "config": config, "arguments": arguments}
    with Daemon(program, folder / "daemon", **options) as daemon:
        places = {"registry": registry.host, "web": web.host}
        constants = {**digests, "PATH": language.PATH}
        return language.ask(peer, daemon.address, cases, folder / "cases", places, constants)


@pytest.fixture(scope="module")
def answers(tmp_path_factory, daemon_program, peer, pytestconfig, is_kilnd):
    folder = tmp_path_factory.mktemp("language")
    with world(folder) as made:
        found = ask_daemon(made, daemon_program, peer, folder, CASES)
    if pytestconfig.getoption("--accept-golden") and not is_kilnd:
        language.write_record(found)
    return found


@pytest.fixture(scope="module")
def record():
    return language.read_record()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(answers, record, case, is_kilnd):
    got, want = shown(answers[case.id]), shown(record[case.id])
    if case.id in DIFFERENCES and is_kilnd:
        assert got != want, "no difference any more: take it out of differences.txt"
    else:
        assert got == want, case.dockerfile.decode(errors="replace")


def shown(answer):
    return json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False)


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_a_case(rule):
    assert RULES[rule][1], f"no case of rule {rule}: {RULES[rule][0]}"


def test_there_are_enough_cases(record):
    assert len(CASES) >= 400
    assert sum("Error" in answer for answer in record.values()) >= 120
