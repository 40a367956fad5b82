"""kiln does what the real buildkitd did: every case, compared with its record."""

import fnmatch

import pytest
from differ import book, case, different

GROUPS = case.groups()
CASES = [one for cases in GROUPS.values() for one in cases]


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.id)
def test_same(case, observed):
    wanted = book.wanted(case)
    seen = book.eased(wanted, book.normal(observed(case)))
    assert wanted == seen, "\n" + book.difference(wanted, seen)


def test_records_are_of_cases():
    """Nothing is recorded of cases that are gone, no name is given twice."""
    assert len({one.id for one in CASES}) == len(CASES)
    for group, cases in GROUPS.items():
        assert set(book.read(group)) == {one.id for one in cases}
    assert {path.stem for path in book.RECORDS.glob("*.json")} == {*GROUPS}


def test_differences_are_explained():
    """What differs on purpose has its heading in docs/differences.md, and there are few of these."""
    text = different.DOCUMENT.read_text()
    for row, patterns in different.ROWS.items():
        assert f"### {row}\n" in text
        for pattern in patterns:
            assert any(fnmatch.fnmatchcase(one, pattern) for one in different.observations()), pattern
    for name in different.observations():
        assert len(different.rows_of(name)) == 1, name
    assert len(different.ROWS) <= 10
