"""What a program prints when its memory, its threads or its own rules are broken: never a matter of chance that a
second run may pass over."""

import re

FATAL = re.compile(
    "|".join(
        (
            r"ERROR: (?:Address|Leak)Sanitizer",
            r"WARNING: ThreadSanitizer",
            r"(?:Address|Leak|Thread|UndefinedBehavior)Sanitizer:DEADLYSIGNAL",
            r"SUMMARY: \w+Sanitizer",
            r"\.(?:cc|h|cpp|hpp|c):\d+:\d+: runtime error: ",  # UndefinedBehaviorSanitizer
            r"^\S+:\d+: broken invariant: ",  # CHECK
            r"terminate called (?:after|without|recursively)",
            r": Assertion '.*' failed\.",  # libstdc++ and assert()
            r"^\*\*\* [a-z ]+ \*\*\*: terminated",  # stack smashing, buffer overflow
            r"^(?:double free|free\(\)|malloc\(\)|malloc_consolidate\(\)|corrupted )",  # glibc's heap
        )
    ),
    re.MULTILINE,
)


def first_line(text):
    """The first line that says so; None if there is none."""
    found = FATAL.search(text or "")
    if not found:
        return None
    return text[text.rfind("\n", 0, found.start() + 1) + 1 :].partition("\n")[0].strip()
