"""As systemd does for a service with socket units: binds sockets, hands them on as descriptors 3 and up, and becomes
the program. `activate.py FILE [NAME=]tcp [NAME=]unix:PATH … -- PROGRAM ARGUMENT…`; FILE gets one port or path a line.
"""

import os
import pathlib
import socket
import sys

FIRST = 3


def bind(kind):
    """A listening socket, and where it listens."""
    if kind == "tcp":
        made = socket.create_server(("127.0.0.1", 0))
        return made, str(made.getsockname()[1])
    path = kind.removeprefix("unix:")
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen()
    return made, path


def main():
    file, *words = sys.argv[1:]
    end = words.index("--")
    names, sockets, places = [], [], []
    for word in words[:end]:
        name, _, kind = word.rpartition("=")
        made, place = bind(kind)
        names.append(name or "unnamed")
        sockets.append(made)
        places.append(place)
    # Out of the way first: they may be where others have to go.
    high = [os.dup2(made.fileno(), 100 + number) for number, made in enumerate(sockets)]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, FIRST + number)
    os.closerange(FIRST + len(high), 200)
    pathlib.Path(file).write_text("".join(f"{place}\n" for place in places))
    environment = {
        **os.environ,
        "LISTEN_FDS": str(len(high)),
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDNAMES": ":".join(names),
    }
    program = words[end + 1]
    os.execvpe(program, words[end + 1 :], environment)


main()
