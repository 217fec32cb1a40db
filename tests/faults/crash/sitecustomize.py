"""Kill a process at a chosen change of a folder, or copy the folder before every change.

Python imports this when it starts. FAULT_AT = "folder|number|log|copies": before the change of that
number, counted in each process from 1, the whole session gets SIGKILL; with FAULT=delete the folder
is deleted instead, and with FAULT=slow every change waits for 0.1 s. Number 0 is none. Where
`copies` names a folder, it gets a copy of the folder before each change: what a kill at that moment
would leave. Changes are files opened to be written, and names that are made, moved and removed; a
file that C code writes is seen when it gets its name.
"""

import os
import shutil
import sys
import threading
import time

_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_LOOKS = ("os.listdir", "os.scandir", "os.utime", "os.chdir", "os.walk", "os.fwalk")


def _watch(folder, number, log, copies):
    count = 0
    lock = threading.RLock()
    hearing = threading.local()
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hear(event, arguments):
        nonlocal count
        if getattr(hearing, "busy", False) or event in _LOOKS:
            return
        if event == "open":
            flags = arguments[2]
            if not (isinstance(flags, int) and flags & _WRITE):
                return
        elif not event.startswith("os."):
            return
        names = [os.fsdecode(a) for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
        if not any(os.path.abspath(name).startswith(folder) for name in names):
            return
        hearing.busy = True
        try:
            with lock:
                count += 1
                os.write(log, f"{os.getpid()} {count} {event} {names}\n".encode())
                fault = os.environ.get("FAULT")
                if fault == "slow":
                    time.sleep(0.1)
                elif count == number and fault == "delete":
                    shutil.rmtree(folder, ignore_errors=True)
                elif count == number:
                    os.killpg(0, 9)
                if copies and os.path.isdir(folder):
                    shutil.copytree(folder, f"{copies}/{count:04d}-{os.getpid()}")
        finally:
            hearing.busy = False

    sys.addaudithook(hear)


if "FAULT_AT" in os.environ:
    _folder, _number, _log, _copies = os.environ["FAULT_AT"].split("|")
    _watch(_folder, int(_number), _log, _copies)
