"""A lock on a folder: two runs never work on one study.

The lock is a file that says who holds it: host, process, when that process started. The holder
touches it every few seconds. It is stale when the process is gone (on the same host), or when
nobody has touched it for a minute (on another host); then the next run takes it over.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any

from sltprob.grids.writing import store_error

__all__ = ["FolderLock", "LockedError"]

_BEAT = 5.0
_STALE = 60.0


class LockedError(ValueError):
    """Another run works on the folder."""


class FolderLock:
    """Hold a folder inside ``with FolderLock(folder)``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock.json"
        self._token = secrets.token_hex(8)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        #: What was found there and taken over, or None.
        self.taken_over: str | None = None

    def __enter__(self) -> FolderLock:
        mine = self.path.with_name(f".lock.{self._token}.tmp")
        owner = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "started": _start_of(os.getpid()),
            "token": self._token,
        }
        try:
            mine.write_text(json.dumps(owner), encoding="utf-8")
            while True:
                try:
                    # A link is made or not made, also on network file systems.
                    os.link(mine, self.path)
                    break
                except FileExistsError:
                    self._take_over_or_refuse()
        except OSError as error:
            raise store_error(self.path, error) from None
        finally:
            with contextlib.suppress(OSError):
                mine.unlink()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if (_read(self.path) or {}).get("token") == self._token:
            self.path.unlink(missing_ok=True)

    def _take_over_or_refuse(self) -> None:
        owner = _read(self.path)
        if owner is None:
            return  # it was released just now
        if reason := _alive(owner, self.path):
            raise LockedError(
                f"{self.path.parent}: another run works here (process {owner['process']} on "
                f"{owner['host']}, {reason}); wait for it, or stop it"
            )
        aside = self.path.with_name(f".lock.{self._token}.stale")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
            if _read(aside) != owner:
                # Somebody else took it over between our look and our move: it is theirs.
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self.path)
            else:
                self.taken_over = f"process {owner['process']} on {owner['host']}"
            aside.unlink()

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def owner_of(folder: Path) -> dict[str, Any] | None:
    """Say who works on a folder now."""
    path = folder / "lock.json"
    owner = _read(path)
    return owner if owner is not None and _alive(owner, path) else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return {"host": owner["host"], "process": int(owner["process"]), **owner}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # A power failure can leave an empty file; nobody holds it.
        return {"host": "", "process": 0}


def _alive(owner: dict[str, Any], path: Path) -> str:
    """Say by what the owner is known to be alive; empty if it is not."""
    if owner["host"] == socket.gethostname():
        running = owner["process"] > 0 and _is_running(owner["process"])
        same = owner.get("started") in (None, _start_of(owner["process"]))
        return "running" if running and same else ""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return ""
    return f"last seen {max(age, 0):.0f} s ago" if owner["host"] and age < _STALE else ""


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    fields = _fields_of(process)
    # A zombie has ended; only its parent has not noticed.
    return fields is None or fields[0] != "Z"


def _start_of(process: int) -> str | None:
    """Say when a process started, in the kernel's clock and boot; None where that is unknown."""
    fields = _fields_of(process)
    if fields is None:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text(encoding='ascii').strip() if boot.is_file() else ''} {fields[19]}"


def _fields_of(process: int) -> list[str] | None:
    """Read the fields of /proc/<pid>/stat from the state on."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program comes before, in parentheses, and may itself hold any character.
    return text.rpartition(")")[2].split()
