"""File actions: mkdir, mkfile, symlink, rm, and copy with all that can be asked of it."""

from kilntest.llb import message

from differ import ops
from differ.case import each
from differ.ops import SCRATCH, THEN, Owner, Step, copy, mkdir, mkfile, rm, symlink

SOURCE = ops.files(
    ops.tree(
        {
            "/f": "file",
            "/g": ("executable", 0o755),
            "/d/a": "a",
            "/d/b.txt": "b",
            "/d/e/c.txt": "c",
            "/d/e/h/deep": "deep",
            "/empty/": 0o700,
            "/x.txt": "x",
            "/y.txt": "y",
            "/[z]": "brackets",
            "/mode": ("m", 0o4711),
        }
    ),
    symlink("d", "/to-d", time=THEN),
    symlink("/f", "/to-f", time=THEN),
    symlink("b.txt", "/d/link", time=THEN),
    symlink("nowhere", "/dangling", time=THEN),
    symlink("../../../etc/passwd", "/climbs", time=THEN),
)
TARGET = ops.files(
    ops.tree({"/into/old": "old", "/into/a/x": "x", "/file": "target", "/into/d/a": "older"}),
    symlink("into", "/link-to-into", time=THEN),
    symlink("/nowhere", "/broken", time=THEN),
)


def done(*actions, on=TARGET):
    return lambda room: ops.files(on, *actions)


def on_base(*actions):
    return lambda room: ops.files(room.base, *actions)


def copied(src, dest, **options):
    return lambda room: ops.files(TARGET, copy(SOURCE, src, dest, **options))


MAKING = {
    "mkdir": done(mkdir("/new", mode=0o751, time=THEN)),
    "mkdir with parents": done(mkdir("/p/q/r", mode=0o700, parents=1, time=THEN, owner=Owner(7, 8))),
    "mkdir without parents": done(mkdir("/p/q/r")),
    "mkdir that is there": done(mkdir("/into", mode=0o700, owner=Owner(7, 7))),
    "mkdir with parents that is there": done(mkdir("/into", mode=0o700, parents=1, owner=Owner(7, 7))),
    "mkdir over a file": done(mkdir("/file")),
    "mkdir with parents over a file": done(mkdir("/file/x", parents=1)),
    "mkdir of the root": done(mkdir("/", mode=0o700)),
    "mkdir with odd modes": done(mkdir("/odd", mode=0o7777, time=THEN)),
    "mkdir through a link": done(mkdir("/link-to-into/new", time=THEN)),
    "mkdir with parents through a link": done(mkdir("/link-to-into/p/q", parents=1, time=THEN)),
    "mkdir on a broken link": done(mkdir("/broken/p", parents=1, time=THEN)),
    "mkdir climbing": done(mkdir("/../../up", time=THEN)),
    "mkdir relative": done(mkdir("relative/p", parents=1, time=THEN)),
    "mkdir at the epoch": done(mkdir("/epoch", time=0)),
    "mkdir now": done(mkdir("/now")),
    "mkfile": done(mkfile("/n", b"data", mode=0o640, time=THEN, owner=Owner(1, 2))),
    "mkfile over a file": done(mkfile("/file", b"shorter", mode=0o600, time=THEN)),
    "mkfile over a folder": done(mkfile("/into", b"x")),
    "mkfile through a link": done(symlink("/file", "/l", time=THEN), mkfile("/l", b"through", time=THEN)),
    "mkfile through a broken link": done(mkfile("/broken", b"x", time=THEN)),
    "mkfile without a parent": done(mkfile("/no/where", b"x")),
    "mkfile in a linked folder": done(mkfile("/link-to-into/n", b"x", time=THEN)),
    "mkfile climbing": done(mkfile("/../../n", b"x", time=THEN)),
    "mkfile with setuid": done(mkfile("/n", b"x", mode=0o4755, time=THEN)),
    "mkfile with mode 0": done(mkfile("/n", b"x", mode=0, time=THEN)),
    "mkfile empty": done(mkfile("/n", b"", time=THEN)),
    "mkfile of bytes": done(mkfile("/n", bytes(range(256)), time=THEN)),
    "mkfile with a trailing slash": done(mkfile("/n/", b"x", time=THEN)),
    "symlink": done(symlink("any/thing", "/s", time=THEN, owner=Owner(3, 4))),
    "symlink over a file": done(symlink("x", "/file")),
    "symlink without a parent": done(symlink("x", "/no/where")),
    "symlink in a linked folder": done(symlink("../../up", "/link-to-into/s", time=THEN)),
    "symlink empty": done(symlink("", "/s")),
    "owner by name": on_base(mkfile("/n", b"x", owner=Owner("bob", "staff"))),
    "owner by name only": on_base(mkfile("/n", b"x", owner=Owner("alice"))),
    "owner by number only": on_base(mkfile("/n", b"x", owner=Owner(1234))),
    "group by name only": on_base(mkfile("/n", b"x", owner=Owner(None, "staff"))),
    "group by number only": on_base(mkfile("/n", b"x", owner=Owner(None, 77))),
    "owner unknown": on_base(mkfile("/n", b"x", owner=Owner("mallory", "nothing"))),
    "owner number as a name": on_base(mkfile("/n", b"x", owner=Owner("1000"))),
    "owner without passwd": done(mkfile("/n", b"x", time=THEN, owner=Owner("bob", "staff"))),
    "owner of another state": lambda room: ops.files(
        TARGET, mkfile("/n", b"x", time=THEN, owner=Owner("bob", "staff", of=room.base))
    ),
    "owner of a link": lambda room: ops.files(TARGET, symlink("a", "/s", time=THEN, owner=Owner("bob", of=room.base))),
    "owner of parents": lambda room: ops.files(
        TARGET, mkdir("/p/q", parents=1, time=THEN, owner=Owner("bob", of=room.base))
    ),
    "rm": done(rm("/file")),
    "rm of a folder": done(rm("/into")),
    "rm missing": done(rm("/nothing")),
    "rm missing allowed": done(rm("/nothing", missing_ok=1)),
    "rm below a missing folder": done(rm("/nothing/below", missing_ok=1)),
    "rm of a link": done(rm("/link-to-into")),
    "rm of a broken link": done(rm("/broken")),
    "rm through a link": done(rm("/link-to-into/old")),
    "rm by wildcard": done(rm("/into/*", wildcard=1)),
    "rm by wildcard that matches nothing": done(rm("/no*", wildcard=1)),
    "rm by wildcard deep": done(rm("/*/a", wildcard=1)),
    "rm of a wildcard literally": done(rm("/into/*")),
    "rm of a wildcard literally allowed": done(rm("/into/*", missing_ok=1)),
    "rm of the root": done(rm("/", missing_ok=1)),
    "rm climbing": done(rm("/../../file")),
    "rm with a trailing slash": done(rm("/into/")),
}

COPYING = {
    "copy file to file": copied("/f", "/n"),
    "copy file over file": copied("/f", "/file"),
    "copy file into folder": copied("/f", "/into"),
    "copy file into folder with slash": copied("/f", "/into/"),
    "copy file to new folder with slash": copied("/f", "/new/"),
    "copy file to new place": copied("/f", "/new/place/n"),
    "copy file to new place without parents": copied("/f", "/new/place/n", parents=0),
    "copy file over a folder's name": copied("/f", "/into/a"),
    "copy folder": copied("/d", "/n"),
    "copy folder into folder": copied("/d", "/into"),
    "copy folder into folder with slash": copied("/d", "/into/"),
    "copy folder's contents": copied("/d", "/into", contents=1),
    "copy folder's contents with slash": copied("/d/", "/into/", contents=1),
    "copy folder with dot": copied("/d/.", "/into/", contents=1),
    "copy folder over a file": copied("/d", "/file"),
    "copy folder's contents over a file": copied("/d", "/file", contents=1),
    "copy file over a folder": copied("/d/a", "/into/", wildcard=1),
    "copy everything": copied("/", "/all", contents=1),
    "copy everything into the root": copied("/", "/", contents=1),
    "copy empty folder": copied("/empty", "/n"),
    "copy missing": copied("/nothing", "/n"),
    "copy missing below a file": copied("/f/x", "/n"),
    "copy to below a file": copied("/f", "/file/n"),
    "copy with a trailing slash of a file": copied("/f/", "/n"),
    "copy relative": copied("d/a", "rel/n"),
    "copy climbing": copied("/../../f", "/../../n"),
    "copy link": copied("/to-f", "/n"),
    "copy link followed": copied("/to-f", "/n", follow=1),
    "copy link to folder": copied("/to-d", "/n"),
    "copy link to folder followed": copied("/to-d", "/n", follow=1),
    "copy link to folder followed, contents": copied("/to-d", "/n", follow=1, contents=1),
    "copy through a link": copied("/to-d/a", "/n"),
    "copy through a link followed": copied("/to-d/a", "/n", follow=1),
    "copy broken link": copied("/dangling", "/n"),
    "copy broken link followed": copied("/dangling", "/n", follow=1),
    "copy climbing link followed": copied("/climbs", "/n", follow=1),
    "copy into a link": copied("/f", "/link-to-into"),
    "copy into a link with slash": copied("/f", "/link-to-into/"),
    "copy folder into a link": copied("/d", "/link-to-into", contents=1),
    "copy into a broken link": copied("/f", "/broken"),
    "copy below a broken link": copied("/f", "/broken/n"),
    "copy mode": copied("/d", "/n", mode=0o750),
    "copy mode of a file": copied("/g", "/n", mode=0o600),
    "copy mode 0": copied("/f", "/n", mode=0),
    "copy mode of parents": copied("/f", "/p/q/n", mode=0o711, time=THEN),
    "copy setuid": copied("/mode", "/n"),
    "copy mode with setuid": copied("/f", "/n", mode=0o6755),
    "copy mode of a link": copied("/to-f", "/n", mode=0o600),
    "copy owner": copied("/d", "/n", owner=Owner(5, 6)),
    "copy owner of parents": copied("/f", "/p/q/n", owner=Owner(5, 6), time=THEN),
    "copy owner of a link": copied("/to-f", "/n", owner=Owner(5, 6)),
    "copy time": copied("/d", "/n", time=0),
    "copy time of parents": copied("/f", "/p/q/n", time=THEN - 5 * 10**9),
    "copy wildcard": copied("/*.txt", "/into/", wildcard=1),
    "copy wildcard to a new folder": copied("/*.txt", "/new/", wildcard=1),
    "copy wildcard to one file": copied("/x*", "/n", wildcard=1),
    "copy wildcard of folders": copied("/d*", "/n/", wildcard=1),
    "copy wildcard of folders' contents": copied("/d*", "/n/", wildcard=1, contents=1),
    "copy wildcard deep": copied("/d/*/c.txt", "/n/", wildcard=1),
    "copy wildcard of anything": copied("/*", "/n/", wildcard=1),
    "copy wildcard without match": copied("/no*", "/n/", wildcard=1),
    "copy wildcard without match allowed": copied("/no*", "/n/", wildcard=1, empty_wildcard=1),
    "copy wildcard that is none, missing": copied("/nothing", "/n/", wildcard=1, empty_wildcard=1),
    "copy wildcard escaped": copied("/\\[z\\]", "/n", wildcard=1),
    "copy wildcard of a class": copied("/[xy].txt", "/n/", wildcard=1),
    "copy wildcard bad": copied("/[x", "/n/", wildcard=1),
    "copy wildcard through a link": copied("/to-d/*.txt", "/n/", wildcard=1, follow=1),
    "copy wildcard of links": copied("/to-*", "/n/", wildcard=1, follow=1),
    "copy wildcard literally": copied("/[z]", "/n"),
    "copy include": copied("/", "/n", contents=1, include=["**/*.txt"]),
    "copy include of a folder": copied("/", "/n", contents=1, include=["d/e"]),
    "copy include below": copied("/d", "/n", contents=1, include=["e/h/deep"]),
    "copy include of nothing": copied("/", "/n", contents=1, include=["nothing"]),
    "copy include with exclude": copied("/", "/n", contents=1, include=["d"], exclude=["d/e/h"]),
    "copy include negated": copied("/", "/n", contents=1, include=["d", "!d/e"]),
    "copy exclude": copied("/", "/n", contents=1, exclude=["**/*.txt"]),
    "copy exclude of a folder": copied("/", "/n", contents=1, exclude=["d"]),
    "copy exclude but one": copied("/", "/n", contents=1, exclude=["d", "!d/e/c.txt"]),
    "copy exclude of all": copied("/", "/n", contents=1, exclude=["**"]),
    "copy exclude with wildcard": copied("/*.txt", "/n/", wildcard=1, exclude=["x*"]),
    "copy include with wildcard": copied("/d*", "/n/", wildcard=1, contents=1, include=["**/c.txt"]),
    "copy include bad": copied("/", "/n", contents=1, include=["[a"]),
    "copy required": copied("/", "/n", contents=1, include=["x.txt"], required=["/x.txt"]),
    "copy required missing": copied("/", "/n", contents=1, include=["nothing"], required=["/nothing"]),
    "copy replace file by folder": copied("/d", "/file", replace=1),
    "copy replace folder by file": copied("/d", "/into", contents=1, replace=1),
    "copy replace link": copied("/f", "/link-to-into", replace=1),
    "copy folder over link": lambda room: ops.files(
        ops.files(TARGET, symlink("/file", "/into/e", time=THEN)), copy(SOURCE, "/d", "/into", contents=1)
    ),
    "copy folder over link, replaced": lambda room: ops.files(
        ops.files(TARGET, symlink("/file", "/into/e", time=THEN)), copy(SOURCE, "/d", "/into", contents=1, replace=1)
    ),
    "copy symbolic mode": copied("/d", "/n", mode_text="u=rwX,go=rX"),
    "copy octal mode in words": copied("/f", "/n", mode_text="0751"),
    "copy bad mode in words": copied("/f", "/n", mode_text="u=zz"),
    "copy from scratch": lambda room: ops.files(TARGET, copy(None, "/", "/n", contents=1)),
    "copy from scratch what is missing": lambda room: ops.files(TARGET, copy(None, "/x", "/n")),
    "copy onto scratch": lambda room: ops.files(None, copy(SOURCE, "/d", "/n")),
    "copy within": lambda room: ops.files(SOURCE, copy(SOURCE, "/d", "/again")),
    "copy into itself": lambda room: ops.files(SOURCE, copy(SOURCE, "/d", "/d/e/itself")),
    "copy of a step before": lambda room: ops.files(
        TARGET, mkfile("/made", b"m", time=THEN), copy(Step(0), "/made", "/copied")
    ),
    "copy many": lambda room: ops.files(
        TARGET, copy(SOURCE, "/f", "/1"), copy(SOURCE, "/d", "/2"), copy(room.base, "/etc/passwd", "/3")
    ),
}

ARCHIVES = {
    "unpack": lambda room: ops.files(None, copy(archive(room), "/archive.tar.gz", "/out", unpack=1)),
    "unpack with an owner": lambda room: ops.files(
        None, copy(archive(room), "/archive.tar.gz", "/out/", unpack=1, owner=Owner(9, 9))
    ),
    "unpack what is none": lambda room: ops.files(None, copy(SOURCE, "/f", "/out", unpack=1)),
    "unpack not asked for": lambda room: ops.files(None, copy(archive(room), "/archive.tar.gz", "/out/")),
    "unpack into a file": lambda room: ops.files(TARGET, copy(archive(room), "/archive.tar.gz", "/file", unpack=1)),
}


def archive(room):
    return ops.source(f"http://{room.web.host}/archive.tar.gz", {"http.perm": "0644"}, platform=None)


SPECIAL = {
    "special": lambda room: ops.files(None, copy(room.image("kinds"), "/", "/n", contents=1)),
    "special by wildcard": lambda room: ops.files(None, copy(room.image("kinds"), "/*", "/n/", wildcard=1)),
    "special with a mode": lambda room: ops.files(None, copy(room.image("kinds"), "/", "/n", contents=1, mode=0o640)),
    "special with an owner": lambda room: ops.files(
        None, copy(room.image("kinds"), "/", "/n", contents=1, owner=Owner(5, 6))
    ),
    "special twins": lambda room: ops.files(
        None,
        copy(
            ops.sh(
                room.base, "mkdir /t; echo x >/t/a; ln /t/a /t/b; ln /t/a /t/c; ln /t/a /outside; touch -d @1 /t/* /t"
            ),
            "/t",
            "/n",
        ),
    ),
    "special extended attributes": (
        lambda room: ops.files(None, copy(room.image("xattrs"), "/", "/n", contents=1)),
        {"outputs": ("type=oci", "type=tar")},
    ),
    # The logger makes its socket where the link leads; it says nothing, nor does the shell that leaves it.
    "special socket": lambda room: ops.files(
        None,
        copy(
            ops.sh(
                room.base,
                "mkdir /s; ln -s /s/sock /dev/log; (syslogd -n -O /dev/null >/dev/null 2>&1 & echo $! >/tmp/pid);"
                " while [ $(stat -c %a /s/sock 2>/dev/null)0 != 6660 ]; do usleep 1000; done; kill $(cat /tmp/pid);"
                " [ -S /s/sock ] || exit 3;"
                " touch -d @1 /s/* /s",
            ),
            "/s",
            "/n",
        ),
    ),
}

WIRING = {
    "no output": lambda room: ops.raw_files([TARGET], ops.wired(0, -1, -1, 6, message(f1="/n", f2=0o755, f5=-1))),
    "output twice": lambda room: ops.raw_files(
        [TARGET], *(ops.wired(0, -1, 0, 6, message(f1=f"/{n}", f2=0o755, f5=THEN)) for n in (1, 2))
    ),
    "output with a gap": lambda room: ops.raw_files(
        [TARGET], ops.wired(0, -1, 1, 6, message(f1="/n", f2=0o755, f5=-1))
    ),
    "input that is not there": lambda room: ops.raw_files(
        [TARGET], ops.wired(9, -1, 0, 6, message(f1="/n", f2=0o755, f5=-1))
    ),
    "input of its own": lambda room: ops.raw_files([TARGET], ops.wired(1, -1, 0, 6, message(f1="/n", f2=0o755, f5=-1))),
    "two outputs": lambda room: two_outputs().output(1),
    "two outputs, first": lambda room: two_outputs(),
    "result used twice": lambda room: ops.raw_files(
        [TARGET],
        ops.wired(0, -1, SCRATCH, 6, message(f1="/shared", f2=0o755, f5=THEN)),
        ops.wired(1, -1, 0, 6, message(f1="/one", f2=0o755, f5=THEN)),
        ops.wired(1, -1, 1, 6, message(f1="/two", f2=0o755, f5=THEN)),
    ).output(1),
    "action that nobody needs": lambda room: ops.raw_files(
        [TARGET],
        ops.wired(0, -1, SCRATCH, 7, message(f1="/would fail")),
        ops.wired(0, -1, 0, 6, message(f1="/n", f2=0o755, f5=THEN)),
    ),
    "action unknown": lambda room: ops.raw_files([TARGET], ops.wired(0, -1, 0, 44, b"")),
    "second action fails": lambda room: ops.files(TARGET, mkdir("/ok", time=THEN), mkdir("/not/ok")),
    "names in progress": lambda room: ops.files(
        TARGET, mkdir("/1"), mkfile("/2"), symlink("a", "/3"), rm("/1"), copy(SOURCE, "/f", "/4")
    ),
}


def two_outputs():
    return ops.raw_files(
        [TARGET],
        ops.wired(0, -1, 0, 6, message(f1="/first", f2=0o755, f5=THEN)),
        ops.wired(0, -1, 1, 6, message(f1="/second", f2=0o755, f5=THEN)),
    )


CASES = [*each("copies", MAKING | COPYING | ARCHIVES | SPECIAL | WIRING)]
