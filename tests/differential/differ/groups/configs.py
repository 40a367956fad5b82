"""The configurations of images that Dockerfiles make: the same bytes, with the order of members, escapes and history.
Only the time of the run is taken out, and the digests of layers that have it."""

from differ.case import Case

FILES = {"a": "a", "b": "b", "dir/x": "x"}


def case(name, text, *words, **opts):
    """`opts`: of the frontend; ARG_x is the build argument x, LABEL_x a label."""
    opts = {key.replace("ARG_", "build-arg:").replace("LABEL_", "label:"): value for key, value in opts.items()}
    return Case(f"configs/{name}", dockerfile=text, files=FILES, opts=opts, words=words, raw=True, again=False)


CASES = [
    case("base", "FROM base\n"),
    case("nothing", "FROM scratch\n"),
    case("nothing with a label", "FROM scratch\nLABEL a=b\n"),
    case("copied", "FROM scratch\nCOPY a /\n"),
    case("added", "FROM base\nADD a b /x/\nADD dir /y\n"),
    case("run", "FROM base\nRUN true\n"),
    case("run as a list", 'FROM base\nRUN ["/bin/true", "a b", "\\"q\\""]\n'),
    case("run of several lines", "FROM base\nRUN true && \\\n    # comment\n    true\n"),
    case("run of a document", 'FROM base\nRUN <<E\ntrue\ntrue "q"\nE\n'),
    case("run of a script", "FROM base\nRUN <<E\n#!/bin/sh\ntrue\nE\n"),
    case("run with mounts", "FROM base\nRUN --mount=type=tmpfs,target=/t --mount=target=/m --network=none true\n"),
    case("arguments", "ARG G=global\nFROM base\nARG G\nARG A=1 B\nARG A=2\nRUN true\n"),
    case("arguments given", "FROM base\nARG A=1 B\nENV C=$A$B\nRUN true\n", ARG_A="<&>", ARG_B="ü"),
    case("automatic arguments", "FROM base\nARG TARGETPLATFORM TARGETARCH BUILDOS\nRUN true\n"),
    case("environment", 'FROM base\nENV A=1 B="two words" C=\\"q\\" D=$A\nENV old style value\nENV A=again\n'),
    case("environment of the base", "FROM configured\nENV FROM_BASE=new PATH=/x:$PATH\n"),
    case("escapes", 'FROM base\nENV A="<a href=\'x\'>&amp;</a>" B="tab\there" C=\u2028 D=ü\nLABEL "<&>"="\u2029"\n'),
    case("labels", 'FROM base\nLABEL z=1 a=2 "m n"=3\nLABEL z=4\nLABEL multi="one\\\ntwo"\n'),
    case("labels of the request", "FROM base\nLABEL a=file b=file\n", LABEL_b="request", LABEL_c=""),
    case("exposed", "FROM base\nEXPOSE 80 443/udp 8000-8002\nEXPOSE 1/sctp 80/tcp\n"),
    case("volumes", 'FROM base\nVOLUME /b /a\nVOLUME ["/c", "/a"]\n'),
    case("user", "FROM base\nUSER bob\nUSER 1000:1000\n"),
    case("working directory", "FROM base\nWORKDIR a\nWORKDIR ../b/./c\nWORKDIR /d/../e/\n"),
    case("root as working directory", "FROM base\nWORKDIR /\n"),
    case("command", "FROM base\nCMD echo $HOME\n"),
    case("command as a list", 'FROM base\nCMD ["a", "b c"]\n'),
    case("no command", "FROM configured\nCMD []\n"),
    case("entrypoint", 'FROM base\nENTRYPOINT ["/e"]\nCMD x\n'),
    case("entrypoint over a command of the base", "FROM configured\nENTRYPOINT /e\n"),
    case("entrypoint after a command", 'FROM base\nCMD x\nENTRYPOINT ["y"]\n'),
    case("health", "FROM base\nHEALTHCHECK --interval=5s --timeout=1m30s --start-period=1ms --retries=3 CMD true\n"),
    case("health as a list", 'FROM base\nHEALTHCHECK --start-interval=2s CMD ["a", "b"]\n'),
    case("no health", "FROM configured\nHEALTHCHECK NONE\n"),
    case("stop signal", "FROM base\nSTOPSIGNAL SIGKILL\nSTOPSIGNAL 9\n"),
    case("shell", 'FROM base\nSHELL ["/bin/sh", "-ec"]\nRUN true\nCMD x\nENTRYPOINT y\n'),
    case("triggers", 'FROM base\nONBUILD RUN a b\nONBUILD COPY . /x\nONBUILD LABEL "a"="b"\n'),
    case("triggers of a stage", "FROM base AS s\nONBUILD ENV A=1\nONBUILD COPY a /t\nFROM s\nRUN true\n"),
    case("maintainer", "FROM base\nMAINTAINER Some Body <x@example.com>\n"),
    case("base with a configuration", "FROM configured\n"),
    case("on a base with a configuration", "FROM configured\nCOPY a /\nLABEL x=y\n"),
    case("stages", "FROM configured AS s\nENV S=1\nLABEL s=1\nFROM s\nENV T=$S\nFROM base\nCOPY --from=s / /s\n"),
    case("stage on a stage", "FROM configured AS s\nENV S=1\nCMD s\nFROM s\nENTRYPOINT e\nCOPY --link a /a\n"),
    case("copies", "FROM base\nCOPY --chown=1:2 --chmod=644 a b /d/\nCOPY --link --parents dir/x /p\nCOPY . $HOME/h\n"),
    case("documents", "FROM base\nCOPY <<A <<B /d/\n1\nA\n2\nB\n"),
    case("epoch", "FROM base\nCOPY a /\nWORKDIR /w\nRUN true\nENV A=1\n", ARG_SOURCE_DATE_EPOCH="1000000000"),
    case("two platforms", "FROM multi\nCOPY a /a\nENV P=1\n", platform="linux/amd64,linux/arm64"),
    case("another platform", "FROM scratch\nCOPY a /a\n", platform="linux/arm/v7"),
    case("for Windows", "FROM scratch\nWORKDIR c:\\\\dir\nCOPY a x\\\\\n", platform="windows(10.0.1)/amd64"),
]
