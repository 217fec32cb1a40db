"""Commands that are killed or stopped: nothing half-written counts, and they go on bit for bit."""

import os
import signal
import time

import pytest
from harness import CASES, TRIES, attempt, end, is_gone, is_part, seeded, unbroken

KILLED = "Killed at any moment (SIGKILL), nothing half-written counts as finished"
RESUMED = "After that, the same command gives the results of an unbroken run, bit for bit"
STOPPED = "Told to stop (Ctrl-C, SIGTERM), a command says in one line how to go on"
TWICE = "Told twice, it ends at once and without a traceback"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))


@cases
@pytest.mark.parametrize("turn", range(TRIES))
def test_killed_nothing_half_written_counts_and_it_goes_on(case, turn, tmp_path):
    """One kill by the clock, one before a change of a file; then to the end."""
    whole, seconds, changes = unbroken(case)
    generator = seeded(case, turn)
    folder = tmp_path / "out"
    for kind in ("clock", "change"):
        if kind == "clock":
            process = case.start(folder)
            time.sleep(generator.uniform(0.05, 1.0) * seconds)
            # Only the command itself, as by an administrator; its workers have to notice.
            process.send_signal(signal.SIGKILL)
        else:
            number = generator.randint(1, changes)
            process = case.start(folder, FAULT_AT=f"{folder}|{number}|{tmp_path / 'log'}|")
        code, _, _ = end(process)
        if code != -signal.SIGKILL:
            continue  # it was done before
        with attempt(KILLED, case.name):
            assert is_gone(process.pid)
            assert is_part(case.results(folder), whole)
    if not case.goes_on:
        folder = tmp_path / "anew"
    elif case.name == "run" and (folder / "a.nc").exists():
        return
    with attempt(RESUMED, case.name):
        code, _, said = case.run(folder)
        assert code == 0, said
        assert case.results(folder) == whole


@cases
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("turn", range(TRIES))
def test_stopped_it_says_how_to_go_on(case, number, turn, tmp_path):
    whole, seconds, _ = unbroken(case)
    folder = tmp_path / "out"
    process = case.start(folder)
    time.sleep(seeded(case, 100 + turn + number).uniform(0.2, 0.8) * seconds)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal tells all its processes
    else:
        process.send_signal(number)
    code, _, said = end(process, 60)
    if code == 0:
        pytest.skip("it was done before")
    with attempt(STOPPED, f"{case.name}, {signal.Signals(number).name}"):
        assert code == 128 + number, said
        lines = [line for line in said.splitlines() if "sltprob: " in line]
        assert said == f"{lines[0]}\n"
        assert lines[0].startswith("sltprob: stopped; ")
        assert "the same command" in said or "anew" in said
        assert is_gone(process.pid)
        assert not list(folder.rglob("*.tmp"))
        assert is_part(case.results(folder), whole)


@cases
@pytest.mark.parametrize("turn", range(TRIES))
def test_told_twice_it_ends_at_once(case, turn, tmp_path):
    whole, seconds, _ = unbroken(case)
    folder = tmp_path / "out"
    generator = seeded(case, 200 + turn)
    process = case.start(folder)
    time.sleep(generator.uniform(0.3, 0.8) * seconds)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(generator.uniform(0.0, 0.3))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    code, _, said = end(process, 60)
    if code == 0:
        pytest.skip("it was done before")
    with attempt(TWICE, case.name):
        # Python lets go of its signals before it has ended.
        assert code in (130, -signal.SIGINT), said
        assert "Traceback" not in said
        assert not [line for line in said.splitlines() if not line.startswith("sltprob: stopped")]
        assert time.monotonic() - began < 5
        assert is_gone(process.pid)
        assert is_part(case.results(folder), whole)
