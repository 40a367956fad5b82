"""Waiting for what another process does."""

import time


def pause(seconds):
    """Lets whatever runs go on for a while: for tests that break off something at random moments."""
    time.sleep(seconds)


def until(condition, what, seconds=10.0):
    """Returns the first true value of condition(); fails after the given time. There is no event to wait on across
    process borders, so this looks every few milliseconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)
