"""Builds without overlay mounts: the snapshotter that copies. What other files test must hold with it too."""

import pytest
from kilntest import hoststate
from test_dockerfile import (  # noqa: F401
    test_copy_from_a_stage_an_image_and_a_named_context,
    test_copy_keeps_modes_links_and_times,
    test_forms_of_run,
    test_hard_links_of_the_context_stay_contents,
)
from test_images import test_layers_link_to_files_of_those_below  # noqa: F401
from test_merge import (  # noqa: F401
    CASES,
    made,
    read_expected,
    steps_cases,
    test_linked_copies_are_kept_when_the_base_changes,
)
from test_run import (  # noqa: F401
    test_bind_mount_is_read_only,
    test_bind_mount_writes_are_dropped,
    test_cache_mount_has_mode_and_owner,
    test_mount_targets_are_not_in_the_layer,
)


@pytest.fixture
def daemon_arguments():
    return ["--oci-worker-snapshotter=native"]


def test_workers_say_so(buildctl):
    assert "native" in buildctl.run("debug", "workers", "--verbose").stdout


# A union breaks hard links to what lies below when one of the names is written to; a file system does not.
LINKED = "hard links, merged, then written to"
STILL_LINKED = "1=one,more 2=>1 4=lone d/!700 d/3=>1 d/a=other d/c=other other=o x=other"


@pytest.mark.kiln_only  # buildkitd's are looked at with the snapshotter that it takes by itself
def test_merges_and_differences(made):  # noqa: F811
    got = {case: made(state) for case, state in {**CASES, **steps_cases(made.image)}.items()}
    expected = read_expected()
    assert got.pop(LINKED)[0] == STILL_LINKED
    expected.pop(LINKED)
    assert got == expected


CHANGES = """\
FROM base AS first
RUN mkdir -p /d/e && echo a >/d/a && echo b >/d/b && ln /d/a /d/e/linked && ln -s a /d/s && mkfifo /d/f
RUN echo x >/gone && mkdir /gone.d && touch /gone.d/y && chmod 751 /d/b
RUN rm -r /gone /gone.d && rm -r /d/e && mkdir /d/e && echo new >/d/e/new && mv /d/a /moved && touch -d @1 /d/s -h
RUN [ "$(ls /d /d/e)" = "$(printf '/d:\\nb\\ne\\nf\\ns\\n\\n/d/e:\\nnew')" ] && [ ! -e /gone ] && echo more >>/moved
FROM scratch
COPY --from=first /d /d
COPY --from=first /moved /
"""


def test_changes_of_all_kinds(build, daemon):
    build({"Dockerfile": CHANGES})
    assert build.read("moved") == "a\nmore\n"
    assert build.read("d/e/new") == "new\n"
    assert (build.out / "d/b").stat().st_mode & 0o7777 == 0o751
    assert (build.out / "d/s").is_symlink() and (build.out / "d/s").lstat().st_mtime == 1
    again = build({"Dockerfile": CHANGES}).stderr
    assert again.count("CACHED") >= 4, again


SEES_NO_OVERLAY = "FROM base\nRUN grep ' / ' /proc/self/mounts >/mounts\nRUN [ $(stat -c %h /bin/busybox) = 1 ]\n"


@pytest.mark.kiln_only  # buildkitd's layers may be links of an image's
def test_nothing_is_stacked_or_linked(build, daemon):
    build({"Dockerfile": SEES_NO_OVERLAY})
    assert "overlay" not in build.read("mounts")
    assert not [mount for mount in hoststate.HostState.take().mounts if str(daemon.root) in mount]


KEEPS_LINKS = """\
FROM base
COPY in /in
RUN touch /other
RUN stat -c %h /in/1 /in/2 /in/3 >/seen
"""


def test_steps_keep_links_that_they_do_not_touch(build):
    request = build.request({"Dockerfile": KEEPS_LINKS, "in/1": "1\n", "in/2": "2\n"})
    (request.context / "in/3").hardlink_to(request.context / "in/1")
    build.client.build(request)
    assert build.read("seen").split() == ["2", "1", "2"]
