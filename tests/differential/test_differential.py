"""kiln does what the real buildkitd did: every case, compared with its record."""

import pytest
from differ import book, case

GROUPS = case.groups()
CASES = [one for cases in GROUPS.values() for one in cases]


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=lambda one: one.id)
def test_same(case, observed):
    wanted = book.wanted(case)
    seen = book.normal(observed(case))
    assert wanted == seen, "\n" + book.difference(wanted, seen)


def test_records_are_of_cases():
    """Nothing is recorded of cases that are gone, no name is given twice."""
    assert len({one.id for one in CASES}) == len(CASES)
    for group, cases in GROUPS.items():
        assert set(book.read(group)) == {one.id for one in cases}
    assert {path.stem for path in book.RECORDS.glob("*.json")} == {*GROUPS}
