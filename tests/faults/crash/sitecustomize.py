"""Kill a process at a chosen change of a folder: Python imports this when it starts.

FAULT_AT = "folder|number|log": before the change of that number, counted in each process from 1,
the whole session gets SIGKILL, as when a machine loses power. With number 0 nothing is killed. The
changes are files opened to be written, and names that are made, moved and removed. A file that C
code writes is seen when it gets its name.
"""

import os
import sys

_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _watch(folder, number, log):
    count = 0
    busy = False
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hear(event, arguments):
        nonlocal count, busy
        if busy or not (event == "open" or event.startswith("os.")):
            return
        names = [os.fsdecode(a) for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITE):
            return
        if event in ("os.listdir", "os.scandir", "os.utime", "os.chdir"):
            return
        if not any(os.path.abspath(name).startswith(folder) for name in names):
            return
        busy = True
        count += 1
        os.write(log, f"{os.getpid()} {count} {event} {names}\n".encode())
        if count == number:
            os.killpg(0, 9)
        busy = False

    sys.addaudithook(hear)


if "FAULT_AT" in os.environ:
    _folder, _number, _log = os.environ["FAULT_AT"].split("|")
    _watch(_folder, int(_number), _log)
