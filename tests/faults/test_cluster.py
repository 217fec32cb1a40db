"""Workers that are killed again and again, and cells that take their workers along."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import (
    MODEL,
    STUDY_CLUSTER,
    STUDY_RUN,
    TRIES,
    attempt,
    end,
    environment,
    is_one_line,
    run,
    start,
    unbroken,
    workplace,
)

from sltprob.grids.study import Study
from sltprob.packed import fingerprint

LOST = "A study whose workers are killed again and again is whole, bit for bit"
ALONE = "A cell that ends its worker, hangs or raises fails alone, with its reason"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def workers_of(process):
    """List the worker processes of a command on this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if parent == process.pid and "spawn_main" in command:
            found.append(int(folder.name))
    return sorted(found)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for workers in /proc")
@pytest.mark.parametrize("turn", range(TRIES))
def test_workers_killed_again_and_again(turn, tmp_path):
    """One is killed whenever something has finished or was begun, the two in turn."""
    whole, _, _ = unbroken(STUDY_RUN)
    folder = tmp_path / "out"
    kills = 0
    arguments = [text for text in STUDY_CLUSTER.arguments(folder) if text != "-q"]
    process = start(*arguments, "--json")
    began = set()
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] not in ("running", "finished"):
            continue
        # Not the same cell twice: one that is lost twice is run alone at the end.
        mark = event["key"], event["event"]
        if mark in began or kills >= 4 or (len(began) + turn) % 2:
            began.add(mark)
            continue
        began.add(mark)
        workers = workers_of(process)
        if workers:
            os.kill(workers[kills % len(workers)], signal.SIGKILL)
            kills += 1
    code, _, said = end(process)
    for _ in range(kills):
        with attempt(LOST, "workers killed"):
            assert code == 0, said
            assert {**STUDY_RUN.results(folder)} == whole
    assert kills >= 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for workers in /proc")
@pytest.mark.skipif("SLTPROB_FAULTS" not in os.environ, reason="takes minutes: make faults")
def test_twenty_workers_killed_within_one_study(tmp_path):
    """One is killed as often as a cell is finished, so that every kill meets another cell."""
    most = 20
    path = tmp_path / "study.toml"
    path.write_text(
        f'[[grid]]\nmodels = ["{MODEL}"]\nsamplers = ["mala"]\nbetas = [1]\nseeds = {most + 4}\n'
        "[budget]\ndraws = 2000\nwarmup = 100\nchains = 2\n"
    )
    study = Study.read(path)
    assert study.run(tmp_path / "whole").complete
    process = start(
        *("study", "run", path, "--out", tmp_path / "out", "--json"),
        *("--cluster", "local", "--workers", 2),
    )
    kills = 0
    for line in process.stdout:
        if json.loads(line)["event"] == "finished" and kills < most:
            for worker in workers_of(process)[:1]:
                os.kill(worker, signal.SIGKILL)
                kills += 1
    code, _, said = end(process)
    with attempt(LOST, f"{most} workers killed"):
        assert code == 0, said
        assert kills > most / 2
        for cell in study.cells():
            found, whole = (study.load(tmp_path / name, cell) for name in ("out", "whole"))
            assert fingerprint(found) == fingerprint(whole)


def test_a_scheduler_is_lost(tmp_path):
    """The command says so in one line; the same one goes on without the scheduler."""
    whole, _, _ = unbroken(STUDY_RUN)
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    own = ("--host", "127.0.0.1", "--no-dashboard")
    with contextlib.ExitStack() as stack:

        def begin(*arguments):
            process = subprocess.Popen(
                [*dask, *map(str, arguments), *own],
                stderr=subprocess.DEVNULL,
                env=environment(),
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = begin("scheduler", "--port", 0, "--scheduler-file", file)
        while not (file.is_file() and file.read_text()):
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        begin("worker", address, "--nthreads", 1, "--death-timeout", 60)
        folder = tmp_path / "out"
        study = workplace() / "study.toml"
        process = start("study", "run", study, "--out", folder, "--json", "--cluster", address)
        for line in process.stdout:
            if json.loads(line)["event"] == "finished":
                scheduler.kill()
        code, _, said = end(process)
        with attempt("A study whose scheduler is lost says so in one line, and goes on", "Dask"):
            assert code == 2, said
            assert is_one_line(said), said
            assert STUDY_RUN.results(folder).items() <= whole.items()
            code, _, said = STUDY_RUN.run(folder)
            assert code == 0, said
            assert STUDY_RUN.results(folder) == whole


PROGRAMS = """
import multiprocessing, os, resource, signal, time
import numpyro
import numpyro.distributions as dist


def _program(fault):
    def program(x):
        if multiprocessing.parent_process() is not None:
            fault()
        w = numpyro.sample("w", dist.Normal(0.0, 1.0))
        with numpyro.plate("data", x.shape[0]):
            numpyro.sample("y", dist.Normal(w, 1.0), obs=x)
    return program


def _memory():
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
    bytearray(2**34)


def _raise():
    raise RuntimeError("no such luck")


good = _program(lambda: None)
exits = _program(lambda: os._exit(3))
killed = _program(lambda: os.kill(os.getpid(), signal.SIGKILL))
hangs = _program(lambda: time.sleep(10_000))
memory = _program(_memory)
raises = _program(_raise)
"""
REASONS = {
    "exits": "every worker that ran it was lost",
    "killed": "every worker that ran it was lost",
    "hangs": "nothing was heard of it for 25 s, so it was ended",
    "memory": "MemoryError",
    "raises": "RuntimeError: no such luck",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_bad_cell_fails_alone(kind, tmp_path):
    """The others finish, and a second run has nothing left to do but the cell that failed."""
    (tmp_path / "mine.py").write_text(PROGRAMS)
    (tmp_path / "data.csv").write_text("x\n0.1\n-0.4\n1.2\n")
    study = tmp_path / "study.toml"
    models = [f"mine.py:{name}" for name in (kind, "good")]
    study.write_text(
        f"exact = false\ndata = 'data.csv'\n[budget]\ndraws = 50\nwarmup = 20\nchains = 2\n"
        f"[[grid]]\nmodels = {models}\nsamplers = ['mala']\nbetas = [1]\nseeds = 1\n"
        f"[[grid]]\nmodels = ['mine.py:good']\nsamplers = ['mala']\nbetas = [2]\nseeds = 2\n"
    )
    folder = tmp_path / "out"
    cluster = ("--cluster", "local", "--workers", 2, "--patience", 25)
    with attempt(ALONE, kind):
        code, out, said = run("study", "run", study, "--out", folder, *cluster)
        assert code == 1, said
        assert "Traceback" not in said
        assert "3 of 4 cells stored" in out
        (line,) = (line for line in said.splitlines() if line.startswith("failed: "))
        assert re.search(rf"{kind} mala β=1 seed=0: .*{REASONS[kind]}", line), line


def test_what_a_cluster_has_found_is_what_one_process_finds(tmp_path):
    whole, _, _ = unbroken(STUDY_CLUSTER)
    alone, _, _ = unbroken(STUDY_RUN)
    with attempt(LOST, "nobody killed"):
        assert whole == alone
    study = Study.read(workplace() / "study.toml")
    folder = workplace() / f"{STUDY_CLUSTER.name}-measured"
    assert all(fingerprint(study.load(folder, cell)) for cell in study.cells())
