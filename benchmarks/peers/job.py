"""One job: one peer, one problem, in this process. Its measures go to a JSON file.

python job.py '{"peer": "numpyro", "problem": "gaussian", ...}' OUT.json
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

#: Set by who started this process, before it did.
BEGIN = float(os.environ.get("PEERS_BEGIN", time.time()))


class Clock:
    """Seconds by the clock and of the processor, since the command."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.last = 0.0
        self.marks: list[tuple[float, str]] = []

    def now(self) -> float:
        """Give the seconds of the processor so far, those of ended children included."""
        own, ended = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime

    def mark(self, part: str) -> None:
        """Count what was used since the last mark as this part."""
        now = self.now()
        self.parts[part] = self.parts.get(part, 0.0) + now - self.last
        self.last = now
        self.marks.append((now, part))

    def part_at(self, when: float) -> str:
        """Name the part that a moment belonged to."""
        return next((part for end, part in self.marks if when <= end), self.marks[-1][1])

    def move(self, seconds: float, source: str, part: str) -> None:
        """Count some of one part as another."""
        seconds = min(seconds, self.parts.get(source, 0.0))
        self.parts[source] -= seconds
        self.parts[part] = self.parts.get(part, 0.0) + seconds


def own_peak() -> int:
    """Give the most memory that this program had, in KiB; getrusage counts what started it too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    job, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    allowed = int(1.5 * job["limit"]) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, allowed + 5))
    clock = Clock()
    heard: list[str] = []
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            peer = importlib.import_module(f"peer_{job['peer']}")
            found = peer.run(job, clock, heard)
            error = None
        except Exception as problem:
            traceback.print_exc()
            error = f"{type(problem).__name__}: {problem}"[:300]
    peak = max(own_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    heard += [
        str(one.message)[:200]
        for one in caught
        if not issubclass(one.category, DeprecationWarning | FutureWarning | ResourceWarning)
    ]
    arrays = {name: found.pop(name) for name in ("loss", "positions") if name in found}
    if arrays:
        np.savez(out.with_suffix(".npz"), **arrays)
    record = {
        **job,
        **found,
        "error": error,
        "parts": clock.parts,
        "seconds": clock.now(),
        "seconds_clock": time.time() - BEGIN,
        "peak_mib": peak / 1024,
        "heard": list(dict.fromkeys(heard)),
    }
    out.write_text(json.dumps(record))


if __name__ == "__main__":
    main()
