"""Dockerfiles through the built-in frontend: progress, images, errors with their excerpts. What the language means is
tested elsewhere."""

from differ.case import Case
from differ.trees import File, Folder, Link

FILES = {
    "a": "a",
    "b": "b",
    "dir/x": "x",
    "dir/y.txt": "y",
    "sh.sh": File("#!/bin/sh\necho run\n", 0o755),
    "link": Link("a"),
}


def case(name, text, **more):
    files = more.pop("files", FILES)
    return Case(f"dockerfiles/{name}", dockerfile=text, files=files, **more)


def args(**values):
    return {"opts": {f"build-arg:{key}": value for key, value in values.items()}}


EVERYTHING = """\
FROM base
ENV A=1 B="two words"
LABEL one=1 two="2 3"
EXPOSE 80 443/udp
VOLUME /data /more
USER bob:staff
WORKDIR /work
ENTRYPOINT ["/bin/echo", "hi"]
CMD ["there"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --retries=2 CMD true
SHELL ["/bin/ash", "-ec"]
ONBUILD RUN echo later
MAINTAINER somebody
ARG UNUSED=1
"""

CASES = [
    case("everything in a configuration", EVERYTHING),
    case(
        "on a base with a configuration", "FROM configured\nRUN pwd; id -un; env | grep -v -e ^OTEL -e ^TRACE | sort\n"
    ),
    case("on a base, overridden", "FROM configured\nENV FROM_BASE=2\nENTRYPOINT []\nUSER root\nLABEL base=no\nCMD x\n"),
    case("scratch", "FROM scratch\nCOPY a /\n"),
    case("scratch alone", "FROM scratch\n"),
    case("base alone", "FROM base\n"),
    case("copies", "FROM base\nCOPY a b /c/\nCOPY dir /d\nCOPY --chmod=600 --chown=bob:staff a /e\nADD sh.sh /\n"),
    case("copy of links", "FROM scratch\nCOPY link /l\nCOPY . /all\n"),
    case("copy linked", "FROM base\nCOPY --link a /linked/a\nCOPY --link --chown=5:6 dir /linked/dir\n"),
    case("copy from a stage", "FROM base AS one\nRUN echo one >/one\nFROM scratch\nCOPY --from=one /one /\n"),
    case("copy from an image", "FROM scratch\nCOPY --from=layered /d /d\n"),
    case("copy excluded", "FROM scratch\nCOPY --exclude=*.txt dir /d\n"),
    case("copy with parents", "FROM scratch\nCOPY --parents dir/x /p/\n"),
    case("copy of wildcards", "FROM scratch\nCOPY d*/*.txt ? /w/\n"),
    case("copy of nothing", "FROM scratch\nCOPY nothing /\n"),
    case("copy of ignored", "FROM scratch\nCOPY a b /\n", files={**FILES, ".dockerignore": "b\n"}),
    case("ignored", "FROM scratch\nCOPY . /\n", files={**FILES, ".dockerignore": "*\n!dir/x\n"}),
    case("here-documents", "FROM base\nRUN <<E\necho one\necho two >/two\nE\nCOPY <<F /f\ntext\nF\n"),
    case("stages not needed", "FROM base AS no\nRUN exit 1\nFROM base\nRUN echo yes\n"),
    case(
        "stages side by side",
        "FROM base AS p\nRUN echo p >/p\nFROM base AS q\nRUN echo q >/q\n"
        "FROM scratch\nCOPY --from=p /p /\nCOPY --from=q /q /\n",
    ),
    case("target", "FROM base AS one\nRUN echo first >/first\nFROM base AS two\nRUN exit 3\n", opts={"target": "one"}),
    case("target by number", "FROM base\nRUN echo zero >/0\nFROM base\nRUN exit 3\n", opts={"target": "0"}),
    case("target missing", "FROM base\n", opts={"target": "nothing"}),
    case("arguments", "ARG TAG=base\nFROM $TAG\nARG X=default\nARG Y\nRUN echo $X $Y\n", **args(Y="given")),
    case("arguments unused", "FROM base\nRUN echo unused\n", **args(NOT_THERE="x")),
    case("arguments of proxies", "FROM base\nRUN env | grep -i proxy\n", **args(HTTP_PROXY="http://p")),
    case(
        "run with mounts",
        "FROM base\nRUN --mount=type=bind,target=/m cat /m/a\nRUN --mount=type=tmpfs,target=/t touch /t/x\n"
        "RUN --mount=type=cache,target=/c touch /c/x\n",
    ),
    case(
        "run with a mount from a stage",
        "FROM base AS s\nRUN echo s >/s\nFROM base\nRUN --mount=from=s,target=/m cat /m/s >/t\n",
    ),
    case("run without a network", "FROM base\nRUN --network=none ip addr | grep -c inet || true\n"),
    case("run as bob in a place", "FROM base\nUSER bob\nWORKDIR /home/bob/x\nRUN id; touch f || echo no\n"),
    case("run fails", "FROM base\nRUN echo before\nRUN echo said; \\\n    exit 5\nRUN echo after\n"),
    case("run of what is not there", 'FROM base\nRUN ["nothing"]\n'),
    case("unknown instruction", "FROM base\nRUNN true\n"),
    case("unknown flag", "FROM base\nRUN --nothing true\n"),
    case("syntax", "FROM base\nENV\n"),
    case("no stages", "# nothing\n"),
    case("missing stage", "FROM base\nCOPY --from=nothing:nothing@x /a /\n"),
    case("unknown user in a copy", "FROM base\nCOPY --chown=mallory a /\n"),
    case("add archive", "FROM scratch\nADD archive.tar /\nCOPY archive.tar /\n", files={"archive.tar": b"not a tar"}),
    case("empty folder", "FROM scratch\nCOPY d /d/\n", files={"d": Folder(0o750)}),
    case("workdir only", "FROM base\nWORKDIR /made/up\n"),
    case(
        "epoch",
        "FROM base\nCOPY a /\nRUN echo $SOURCE_DATE_EPOCH; echo x >/x\n",
        outputs=("type=oci,rewrite-timestamp=true",),
        **args(SOURCE_DATE_EPOCH="1000000000"),
    ),
    case("no cache", "FROM base\nRUN echo never\n", opts={"no-cache": ""}),
    case(
        "no cache of a stage",
        "FROM base AS s\nRUN echo uncached stage\nFROM s\nRUN echo on top\n",
        opts={"no-cache": "s"},
    ),
    case(
        "labels and hosts",
        "FROM base\nRUN cat /etc/hosts; hostname\n",
        opts={"label:x": "y", "add-hosts": "one=10.0.0.1", "hostname": "given"},
    ),
    case("network of all", "FROM base\nRUN ip link | grep -c ': '\n", opts={"force-network-mode": "none"}),
    case("memory", "FROM base\nRUN echo limited\n", opts={"shm-size": "1048576"}),
    case("two platforms", "FROM multi\nCOPY a /a\n", opts={"platform": "linux/amd64,linux/arm64"}),
    case(
        "two platforms as folders",
        "FROM multi\nCOPY a /a\n",
        opts={"platform": "linux/amd64,linux/arm64"},
        outputs=("type=local",),
    ),
    case(
        "two platforms as a tar",
        "FROM multi\nCOPY a /a\n",
        opts={"platform": "linux/amd64,linux/arm64"},
        outputs=("type=tar",),
    ),
    case(
        "two platforms in one tree",
        "FROM multi\nCOPY a /a\n",
        opts={"platform": "linux/amd64,linux/arm64"},
        outputs=("type=local,platform-split=false",),
    ),
    case(
        "two platforms for Docker",
        "FROM multi\nCOPY a /a\n",
        opts={"platform": "linux/amd64,linux/arm64"},
        outputs=("type=docker",),
    ),
    case(
        "two platforms, annotated",
        "FROM multi\nCOPY a /a\n",
        opts={"platform": "linux/amd64,linux/arm64"},
        outputs=(
            "type=oci,annotation.a=1,annotation-index.b=2,annotation[linux/arm64].c=3,annotation-manifest-descriptor[linux/amd64].d=4",
        ),
    ),
    case(
        "two platforms, annotated for a third",
        "FROM multi\nCOPY a /a\n",
        opts={"platform": "linux/amd64,linux/arm64"},
        outputs=("type=oci,annotation[linux/arm].a=1",),
    ),
    case(
        "two platforms, Docker's types",
        "FROM multi\nCOPY a /a\n",
        opts={"platform": "linux/amd64,linux/arm64"},
        outputs=("type=oci,oci-mediatypes=false",),
    ),
    case("one other platform", "FROM multi\nCOPY a /a\n", opts={"platform": "linux/arm64"}),
    case("platform bad", "FROM base\n", opts={"platform": "a/b/c/d"}),
    case(
        "one platform as a map", "FROM multi\nCOPY a /a\n", opts={"platform": "linux/amd64", "multi-platform": "true"}
    ),
]
