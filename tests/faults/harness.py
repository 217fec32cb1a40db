"""What the campaign of faults shares: commands in sessions of their own, kills, and the count.

Every attempt is a line in the file that SLTPROB_FAULTS names, if it names one; `reliability.py`
makes docs/reliability.md of them. SLTPROB_TRIES says how often each fault is tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import sltprob
from sltprob.packed import fingerprint

TRIES = int(os.environ.get("SLTPROB_TRIES", "1"))
_CRASH = Path(__file__).parent / "crash"
_LONGEST = 300

MODEL = "regular[dimension=1]"
FEW = ("--draws", "50", "--warmup", "50", "--chains", "2")
STUDY = f"""
[budget]
draws = 20
warmup = 20
chains = 2
[[grid]]
models = ["{MODEL}"]
samplers = ["mala"]
betas = [1, 10]
seeds = 3
[[grid]]
models = ["{MODEL}"]
samplers = ["mala"]
betas = [1]
seeds = 2
budget = {{draws = 2000, warmup = 100}}
"""


@cache
def commit() -> str:
    """Give the commit whose faults are counted, with a + if something was changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    said = [
        subprocess.run([*git, *rest], capture_output=True, text=True, check=False).stdout.strip()
        for rest in (("rev-parse", "--short=10", "HEAD"), ("status", "--porcelain", "-uno"))
    ]
    return said[0] + ("+" if said[1] else "")


@contextlib.contextmanager
def attempt(promise: str, what: str):
    """Count one attempt, and whether the promise was kept."""
    kept: bool | None = False
    try:
        yield
        kept = True
    except pytest.skip.Exception:
        kept = None  # it was not tried
        raise
    finally:
        if kept is not None and "SLTPROB_FAULTS" in os.environ:
            line = json.dumps({"promise": promise, "what": what, "kept": kept, "commit": commit()})
            with open(os.environ["SLTPROB_FAULTS"], "a", encoding="utf-8") as handle:
                handle.write(line + "\n")


@cache
def workplace() -> Path:
    """Make a folder for what the attempts of this process share."""
    folder = Path(tempfile.mkdtemp(prefix="sltprob-faults-"))
    import atexit

    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "study.toml").write_text(STUDY)
    return folder


def environment(**more: str) -> dict[str, str]:
    """Keep all that is compiled, in one folder for all attempts."""
    paths = [str(_CRASH), str(Path(sltprob.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(workplace() / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **more,
    }


def start(*arguments: object, **more: str) -> subprocess.Popen[str]:
    """Start a command in a session of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "sltprob", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], seconds: float = _LONGEST) -> tuple[int, str, str]:
    """Wait for a command, and give its code and what it said."""
    try:
        out, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, out, said


def run(*arguments: object, **more: str) -> tuple[int, str, str]:
    """Run a command to its end."""
    return end(start(*arguments, **more))


def is_one_line(said: str) -> bool:
    """Say whether a command has explained itself in one line, and shown no traceback."""
    return said.count("\n") == 1 and said.startswith("sltprob: ") and "Traceback" not in said


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of a few bytes, or skip where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is for root, on Linux")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@dataclass(frozen=True)
class Case:
    """A command that writes into a folder, and what must be true of that folder."""

    name: str
    arguments: Callable[[Path], tuple[object, ...]]
    #: What is there and counts as finished, bit for bit, by name.
    results: Callable[[Path], dict[str, str]]
    #: Whether the same command in the same folder goes on.
    goes_on: bool = True
    environment: tuple[tuple[str, str], ...] = ()

    def start(self, folder: Path, **more: str) -> subprocess.Popen[str]:
        return start(*self.arguments(folder), **dict(self.environment), **more)

    def run(self, folder: Path, **more: str) -> tuple[int, str, str]:
        return end(self.start(folder, **more))


def is_gone(session: int) -> bool:
    """Wait until no process of a session is left; give False if that takes too long."""
    for _ in range(200):
        listed = subprocess.run(["pgrep", "-s", str(session)], capture_output=True, check=False)
        if not listed.stdout.strip():
            return True
        time.sleep(0.05)
    return False


def is_part(found: dict[str, str], whole: dict[str, str]) -> bool:
    """Say whether all that counts as finished is as in an unbroken run."""
    return found.items() <= whole.items()


@cache
def unbroken(case: Case) -> tuple[dict[str, str], float, int]:
    """Run a case to its end, twice: its results, the seconds it takes, and its changes of files."""
    for turn in ("compiles", "measured"):
        folder = workplace() / f"{case.name}-{turn}"
        log = workplace() / f"{case.name}-{turn}.log"
        began = time.monotonic()
        code, _, said = case.run(folder, FAULT_AT=f"{folder}|0|{log}|")
        seconds = time.monotonic() - began
        assert code == 0, said
    changes = [int(line.split()[1]) for line in log.read_text().splitlines()]
    return case.results(folder), seconds, max(changes)


def seeded(case: Case, turn: int) -> random.Random:
    """Give the random numbers of one attempt, always the same."""
    return random.Random(f"{case.name} {turn}")


def _runs(folder: Path, pattern: str) -> dict[str, str]:
    """Load every run that counts as finished; one that is half written is an error here."""
    return {
        path.name: fingerprint(sltprob.load(path))
        for path in sorted(folder.glob(pattern))
        if not path.name.startswith(".")
    }


def _of_compare(folder: Path) -> dict[str, str]:
    found = _runs(folder, "runs/*.nc")
    if (folder / "summary.csv").exists():
        found["summary"] = str((folder / "summary.csv").read_text().count("\n"))
    if (folder / "report.html").exists():
        found["page"] = (folder / "report.html").read_text().rstrip()[-7:]
    return found


def _of_study(folder: Path) -> dict[str, str]:
    from sltprob.grids.study import Study

    study = Study.read(workplace() / "study.toml")
    assert not study.status(folder).damaged
    cells = {str(cell): cell for cell in study.cells()}
    stored = {path.name.partition(".")[0] for path in (folder / "cells").glob("*.npz")}
    found = {
        name: fingerprint(study.load(folder, cell))
        for name, cell in cells.items()
        if cell.key in stored
    }
    if (folder / "table.parquet").exists():
        import pandas

        found["table"] = str(len(pandas.read_parquet(folder / "table.parquet")))
    return found


def _of_report(folder: Path) -> dict[str, str]:
    found = {
        path.name: str(path.stat().st_size)
        for path in sorted(folder.glob("figures/*"))
        if not path.name.startswith(".") and path.suffix not in (".pdf", ".svg")
    }
    if (folder / "page.html").exists():
        text = (folder / "page.html").read_text()
        found["page"] = f"{text.count('<section')} {text.rstrip()[-7:]}"
    return found


def _of_calibrate(folder: Path) -> dict[str, str]:
    found = _runs(folder, "runs/*.npz")
    for name in ("rows.jsonl", "calibration.md"):
        if (folder / name).exists():
            found[name] = (folder / name).read_text()
    return found


@cache
def stored_runs() -> Path:
    """Give a folder with finished runs."""
    unbroken(COMPARE)
    return workplace() / "compare-measured" / "runs"


RUN = Case(
    "run",
    lambda f: ("run", MODEL, "--sampler", "mala", "--beta", 10, *FEW, "-q", "--out", f / "a.nc"),
    lambda folder: _runs(folder, "*.nc"),
)
COMPARE = Case(
    "compare",
    lambda f: (
        *("compare", MODEL, "--samplers", "mala,hmc", "--betas", "1,10", *FEW),
        *("-q", "--out", f),
    ),
    _of_compare,
    goes_on=False,
)
STUDY_RUN = Case(
    "study run",
    lambda f: ("study", "run", workplace() / "study.toml", "--out", f, "-q"),
    _of_study,
)
STUDY_CLUSTER = Case(
    "study run --cluster local",
    lambda f: (*STUDY_RUN.arguments(f), "--cluster", "local", "--workers", 2),
    _of_study,
)
REPORT = Case(
    "report",
    lambda f: (
        *("report", stored_runs(), "--out", f / "page.html", "--figures", f / "figures"),
        "--overwrite",
    ),
    _of_report,
)
CALIBRATE = Case(
    "calibrate",
    lambda f: ("calibrate", "--small", "--part", "4/36", "--workers", 1, "--out", f),
    _of_calibrate,
)
CALIBRATE_WORKERS = Case(
    "calibrate --workers 2",
    lambda f: ("calibrate", "--small", "--part", "4/36", "--workers", 2, "--out", f),
    _of_calibrate,
)
#: The same with less to do, where a kill is to cost little.
COMPARE_LITTLE = Case(
    "compare",
    lambda f: ("compare", MODEL, "--samplers", "mala", "--betas", "1,10", *FEW, "-q", "--out", f),
    _of_compare,
    goes_on=False,
)
REPORT_LITTLE = Case(
    "report",
    lambda f: (
        *("report", next(stored_runs().glob("mala-*")), "--out", f / "page.html"),
        *("--figures", f / "figures", "--overwrite"),
    ),
    _of_report,
)
CALIBRATE_LITTLE = Case(
    "calibrate",
    lambda f: ("calibrate", "--small", "--part", "22/52", "--workers", 1, "--out", f),
    _of_calibrate,
)
CASES = (RUN, COMPARE, STUDY_RUN, STUDY_CLUSTER, REPORT, CALIBRATE, CALIBRATE_WORKERS)
