"""Marks of tests whose long form is left to `make soak`."""

import pytest


def soak(*values, seconds):
    """A parameter set of a long form that may take so many seconds."""
    return pytest.param(*values, marks=[pytest.mark.heavy, pytest.mark.timeout(seconds)])
