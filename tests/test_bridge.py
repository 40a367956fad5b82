"""The gateway's service by raw calls: references and inputs that are empty, unknown or no graph."""

import base64
import json
import re
import subprocess

import pytest
from kilntest import llb

FILE = llb.mkfile(None, "/f", b"text")
SOLVE = {"allowResultReturn": True, "allowResultArrayRef": True}


def encoded(data):
    return base64.b64encode(data).decode()


def graph(*ops):
    """A pb.Definition in protobuf's JSON."""
    return {"def": [encoded(op) for op in ops], "metadata": {llb.digest(op): {} for op in ops}}


def graph_of(vertex):
    return graph(vertex.op, llb.terminal(vertex.op))


def dockerfile(text):
    return graph_of(llb.mkfile(None, "/Dockerfile", text))


GOOD = graph_of(FILE)
COPIES = dockerfile(b"FROM scratch\nCOPY f /\n")
FROM_X = dockerfile(b"FROM x\n")


def solve(keep="", **request):
    return {"Method": "Solve", "Request": {**SOLVE, **request}, "Keep": keep}


def convert(options=(), **inputs):
    """Asks the Dockerfile frontend, with these inputs."""
    return solve(Frontend="dockerfile.v0", FrontendInputs=inputs, FrontendOpt=dict(options), Evaluate=True)


def gives(**request):
    return {"Method": "Return", "Request": request}


def looks(ref):
    """Every call that reads a reference."""
    paths = {"ReadFile": "FilePath", "ReadDir": "DirPath", "StatFile": "Path"}
    calls = [{"Method": method, "Request": {"Ref": ref, path: "/f"}} for method, path in paths.items()]
    return [*calls, {"Method": "Evaluate", "Request": {"Ref": ref}}]


class Drive:
    def __init__(self, peer, daemon):
        self.command = [peer, "-addr", daemon.address, "bridge"]

    def __call__(self, *calls):
        """What each call of one build answered: "CODE: text"; and how the build ended, if something was returned."""
        done = subprocess.run(self.command, input=json.dumps({"Calls": calls}), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        drove = json.loads(done.stdout)
        answers = [f"{one['Code']}: {one['Message']}" for one in drove["Answers"]]
        ended = drove["Ended"]
        return answers, f"{ended['Code']}: {ended['Message']}" if ended else None


@pytest.fixture
def drive(peer, daemon):
    return Drive(peer, daemon)


INPUTS = "Unknown: failed to get frontend inputs: "
NIL = INPUTS + "invalid nil input definition to definition op"
# Inputs → the error. What is wrong is found in inputs too that nothing uses.
BAD_INPUTS = {
    "nil everything": (convert(context={}, dockerfile={}), NIL),
    "nil context": (convert(context={}, dockerfile=COPIES), NIL),
    "nil, not used": (convert(context=GOOD, dockerfile=COPIES, x={}), NIL),
    "nil, named": (convert({"context:x": "input:x"}, context=GOOD, dockerfile=FROM_X, x={}), NIL),
    "not there, named": (
        convert({"context:x": "input:x"}, context=GOOD, dockerfile=FROM_X),
        "Unknown: invalid input x for x",
    ),
    "one op": (
        convert(context=GOOD, dockerfile=COPIES, x=graph(FILE.op)),
        INPUTS + "invalid definition with no inputs on last vertex",
    ),
    "an empty op": (
        convert(context=GOOD, dockerfile=COPIES, x=graph(b"")),
        INPUTS + "invalid definition with no inputs on last vertex",
    ),
    "garbage": (
        convert(context=GOOD, dockerfile=COPIES, x=graph(b"\xff\xff\xff\xff")),
        INPUTS + "failed to parse llb proto op",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_inputs_that_are_no_graph(drive, name):
    call, said = BAD_INPUTS[name]
    (answer,), _ = drive(call)
    assert answer.startswith(said), answer


def test_inputs_are_used(drive):
    read = {"Method": "ReadFile", "Request": {"Ref": "{made}", "FilePath": "/f"}}
    call = convert(context=GOOD, dockerfile=COPIES)
    answers, _ = drive({**call, "Keep": "made"}, read)
    assert json.loads(answers[1].removeprefix("OK: ")) == {"Data": encoded(b"text")}


@pytest.mark.parametrize("ref", ["", "nope"])
def test_references_that_nobody_has(drive, ref):
    answers, _ = drive(*looks(ref))
    assert answers == [f"Unknown: no such ref: {ref}, all []"] * 4


def test_an_unknown_reference_is_told_the_known_ones(drive):
    answers, _ = drive(solve(keep="f", Definition=GOOD), *looks("nope"), *looks("{f}"))
    kept = json.loads(answers[0].removeprefix("OK: "))["result"]["ref"]["id"]
    assert answers[1:5] == [f"Unknown: no such ref: nope, all [{kept}]"] * 4
    # It is a file: no folder to be listed.
    assert [answer.split(":")[0] for answer in (answers[5], *answers[7:])] == ["OK"] * 3


def test_a_solve_of_nothing_has_no_reference(drive):
    answers, ended = drive(
        solve(keep="none", Definition={}, Evaluate=True), *looks("{none}"), gives(result={"ref": {"id": "{none}"}})
    )
    assert json.loads(answers[0].removeprefix("OK: ")) == {"result": {"ref": {}}}
    assert answers[1:5] == ["Unknown: no such ref: , all []"] * 4
    assert ended == "OK: "


def test_solves_that_ask_for_nothing_possible(drive):
    answers, _ = drive(
        solve(Definition={}, Frontend="nope.v0"), solve(Definition=GOOD, Frontend="dockerfile.v0"), solve(Definition={})
    )
    assert answers[:2] == [
        "Unknown: invalid frontend: nope.v0",
        "Unknown: cannot solve with both Definition and Frontend specified",
    ]
    assert answers[2].startswith("OK: ")


def test_a_return_of_unknown_references_ends_nothing(drive):
    unknown = [
        {"ref": {"id": "nope"}},
        {"refDeprecated": "nope"},
        {"refs": {"refs": {"a": {"id": "nope"}}}},
        {"refsDeprecated": {"refs": {"a": "nope"}}},
        {"attestations": {"a": {"attestation": [{"ref": {"id": "nope"}}]}}},
    ]
    answers, ended = drive(*(gives(result=one) for one in unknown), gives(result={"ref": {}}))
    assert answers == ["Unknown: return reference nope not found"] * 5 + ["OK: {}"]
    assert ended == "OK: "


def test_a_return_of_nothing_ends_nothing(drive):
    answers, ended = drive(gives(), gives(error={}), gives(error={"code": 3, "message": "said"}, result={}))
    assert re.fullmatch("InvalidArgument: (rpc error: .* = )?result is required", answers[0])
    assert answers[1:] == ["Unknown: gateway return must be either result or err", "OK: {}"]
    assert ended == "InvalidArgument: InvalidArgument: said"


PLATFORMS = {"Platforms": [{"ID": "linux/amd64", "Platform": {"os": "linux", "architecture": "amd64"}}]}
NO_PLATFORMS = "Unknown: build result contains multiple refs without platforms mapping"
# What is returned → how the build ends.
EMPTY_RESULTS = {
    "nothing at all": ({}, "OK: "),
    "a map of nothing": ({"refs": {}}, "OK: "),
    "a map with a reference that is none": ({"refs": {"refs": {"a": {}}}}, NO_PLATFORMS),
    "an old map with a reference that is none": ({"refsDeprecated": {"refs": {"a": ""}}}, NO_PLATFORMS),
    "a platform whose reference is none": (
        {
            "refs": {"refs": {"linux/amd64": {}}},
            "metadata": {"refs.platforms": encoded(json.dumps(PLATFORMS).encode())},
        },
        "OK: ",
    ),
    "an attestation without a reference": (
        {"ref": {}, "attestations": {"a": {"attestation": [{}]}}},
        "OK: ",
    ),
}


@pytest.mark.parametrize("name", EMPTY_RESULTS)
def test_results_without_references(drive, name):
    result, end = EMPTY_RESULTS[name]
    answers, ended = drive(gives(result=result))
    assert answers == ["OK: {}"]
    assert ended == end
