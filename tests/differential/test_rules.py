"""Every rule that the notes on the protocol state is shown by a case."""

import fnmatch
import pathlib
import tomllib

from differ import case

TABLE = tomllib.loads(pathlib.Path(__file__).with_name("rules.toml").read_text())
IDS = [one.id for cases in case.groups().values() for one in cases]


def matches(pattern):
    return [one for one in IDS if one == pattern or fnmatch.fnmatchcase(one, pattern)]


def rules():
    for section, table in TABLE.items():
        if section != "not-served":
            for rule, patterns in table.items():
                yield f"{section}: {rule}", patterns


def test_every_rule_has_cases():
    missing = [f"{rule}: {one}" for rule, patterns in rules() for one in patterns if not matches(one)]
    missing += [f"{rule}: no cases" for rule, patterns in rules() if not patterns]
    assert not missing, "\n".join(missing)


def test_every_case_is_of_a_rule():
    found = {one for _, patterns in rules() for pattern in patterns for one in matches(pattern)}
    assert not set(IDS) - found, "\n".join(sorted(set(IDS) - found))


def test_what_is_not_served(capsys):
    with capsys.disabled():
        print(f"\n{len(IDS)} cases of {len(list(rules()))} rules; not served:")
        for rule in TABLE["not-served"]["rules"]:
            print(f"  {rule}")
    assert len(IDS) >= 250
