"""Fifty kills of each command, spread over the time that it takes.

The commands are forks of a process that has imported what they need (forks.py), with what they
compile kept, and what goes on does so in this process: a kill then costs some seconds.
"""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from harness import (
    CALIBRATE_LITTLE,
    COMPARE_LITTLE,
    REPORT_LITTLE,
    RUN,
    STUDY_CLUSTER,
    STUDY_RUN,
    TRIES,
    attempt,
    environment,
    is_gone,
    is_part,
    workplace,
)

from sltprob.cli import main

#: In a campaign; with every change that meets this shard a few.
KILLS = 50 * TRIES if "SLTPROB_FAULTS" in os.environ else 1

KILLED = "Killed at any moment (SIGKILL), nothing half-written counts as finished"
RESUMED = "After that, the same command gives the results of an unbroken run, bit for bit"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]


class Forks:
    """The process whose forks the commands are."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, f"{os.path.dirname(__file__)}/forks.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self._said = workplace() / "said"

    def run(self, arguments, kill_after=None):
        """Give the number of the session, the code, and what was said; kill after some seconds."""
        text = json.dumps([[*map(str, arguments)], str(self._said)])
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        number = int(self._process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            # It is no zombie's number before its parent has waited, and then it was done.
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        return number, code, self._said.read_text() if self._said.exists() else ""

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def forks():
    server = Forks()
    yield server
    server.close()


def here(arguments):
    """Run a command in this process, where all is compiled after the first."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            return end.code, said.getvalue()
    return None, said.getvalue()


CASES = (RUN, COMPARE_LITTLE, STUDY_RUN, STUDY_CLUSTER, REPORT_LITTLE, CALIBRATE_LITTLE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_killed_at_fifty_moments(case, forks, tmp_path):
    """Every part of its time has its kill; what is left goes on to the whole."""
    for turn in range(2):  # what is compiled in the first is loaded in the second
        folder = tmp_path / f"whole-{turn}"
        folder.mkdir()
        began = time.monotonic()
        _, code, said = forks.run(case.arguments(folder))
        seconds = time.monotonic() - began
        assert code == 0, said
    whole = case.results(folder)
    generator = random.Random(f"fifty {case.name}")
    done = 0
    for turn in range(4 * KILLS):
        if done == KILLS:
            break
        folder = tmp_path / "out"
        shutil.rmtree(folder, ignore_errors=True)
        moment = (turn % KILLS + generator.random()) / KILLS * seconds
        number, code, said = forks.run(case.arguments(folder), moment)
        if code != -signal.SIGKILL:
            assert code == 0, said
            seconds = min(seconds, 1.05 * moment)  # the machine was busy when it was measured
            continue
        done += 1
        with attempt(KILLED, case.name):
            assert is_gone(number)
            assert is_part(case.results(folder), whole)
        # What starts anew in a new folder shows little of the kill.
        again = case.goes_on or turn % 10 == 0
        if not again or (case is RUN and (folder / "a.nc").exists()):
            continue
        folder = folder if case.goes_on else tmp_path / f"anew-{turn}"
        with attempt(RESUMED, case.name):
            # A study goes on alike here and on a cluster.
            code, said = here((STUDY_RUN if case is STUDY_CLUSTER else case).arguments(folder))
            assert code == 0, said
            assert case.results(folder) == whole
    assert done == KILLS
