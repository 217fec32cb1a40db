"""Disks that are full, slow or read-only, folders that vanish, and two processes at one place."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from harness import (
    CALIBRATE,
    COMPARE,
    REPORT,
    RUN,
    STUDY_RUN,
    TRIES,
    attempt,
    end,
    is_one_line,
    seeded,
    small_disk,
    unbroken,
)

from sltprob.grids.store import Store
from sltprob.grids.study import Study
from sltprob.packed import pack

FULL = "On a disk that is full, a command says so in one line, and goes on when there is room"
UNWRITABLE = "A folder that cannot be written is refused in one line, before anything is computed"
DELETED = "A folder deleted meanwhile is one line, or made again; the next call is whole"
TWO = "Two processes at one place: one is refused in one line, or both are whole"
SLOW = "On a disk with slow writes, a kill loses nothing"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def cases(*chosen):
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case.name.replace(" ", "-"))


def goes_on_to_the_whole(case, folder, anew):
    """Run the same command once more; one that does not go on starts in another folder."""
    whole, _, _ = unbroken(case)
    target = folder if case.goes_on and not (case is RUN and case.results(folder)) else anew
    code, _, said = case.run(target)
    assert code == 0, said
    assert case.results(target) == whole


@cases(RUN, COMPARE, STUDY_RUN, REPORT, CALIBRATE)
@pytest.mark.parametrize("turn", range(TRIES))
def test_files_may_not_grow(case, turn, tmp_path):
    """A limit on the size of a file fails a write in the middle, as a full disk does."""
    whole, _, _ = unbroken(case)
    folder = tmp_path / "out"
    limit = int(10 ** seeded(case, 300 + turn).uniform(0, 5))
    process = case.start(folder)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    code, _, said = end(process)
    with attempt(FULL, f"{case.name}, no file above {limit} bytes"):
        assert code == 2 or case.results(folder) == whole, said
        if code == 2:
            assert is_one_line(said), said
            assert "cannot be written" in said
        assert case.results(folder).items() <= whole.items()
        assert not list(folder.rglob(".*.tmp"))
        goes_on_to_the_whole(case, folder, tmp_path / "anew")


@cases(RUN, COMPARE, STUDY_RUN, REPORT)
def test_the_disk_is_full(case, tmp_path):
    whole, _, _ = unbroken(case)
    disk = tmp_path / "disk"
    with attempt(FULL, f"{case.name}, a disk of 16 kB"), small_disk(disk, "16k"):
        code, _, said = case.run(disk / "out")
        assert code == 2 or case.results(disk / "out") == whole
        if code == 2:
            assert is_one_line(said), said
            assert "cannot be written" in said
        assert case.results(disk / "out").items() <= whole.items()
        subprocess.run(["mount", "-o", "remount,size=100M", disk], check=True)
        goes_on_to_the_whole(case, disk / "out", disk / "anew")


@cases(RUN, COMPARE, STUDY_RUN, REPORT, CALIBRATE)
def test_what_cannot_be_written_is_refused_at_once(case, tmp_path):
    """As root no permission bits count, so that the file system itself has to refuse."""
    _, seconds, _ = unbroken(case)
    disk = tmp_path / "disk"
    with contextlib.ExitStack() as stack:
        if os.geteuid():
            disk.mkdir()
            disk.chmod(0o555)
        else:
            stack.enter_context(small_disk(disk, "1M"))
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with attempt(UNWRITABLE, case.name):
            began = time.monotonic()
            code, _, said = case.run(disk / "out")
            assert code == 2
            assert is_one_line(said), said
            assert "cannot be written" in said
            assert time.monotonic() - began < max(0.9 * seconds, seconds - 1)
            assert not list(disk.iterdir())


@cases(COMPARE, STUDY_RUN, REPORT, CALIBRATE)
@pytest.mark.parametrize("turn", range(TRIES))
def test_the_folder_is_deleted_meanwhile(case, turn, tmp_path):
    whole, _, changes = unbroken(case)
    folder = tmp_path / "out"
    number = seeded(case, 400 + turn).randint(2, changes)
    fault = f"{folder}|{number}|{tmp_path / 'log'}|"
    code, _, said = case.run(folder, FAULT_AT=fault, FAULT="delete")
    with attempt(DELETED, case.name):
        assert code == 0 or (code == 2 and is_one_line(said)), said
        if folder.exists():
            assert case.results(folder).items() <= whole.items()
        goes_on_to_the_whole(case, folder, tmp_path / "anew")


@cases(RUN, COMPARE, STUDY_RUN, CALIBRATE)
def test_two_processes_at_one_place(case, tmp_path):
    whole, _, _ = unbroken(case)
    folder = tmp_path / "out"
    with attempt(TWO, case.name):
        both = [end(process) for process in [case.start(folder), case.start(folder)]]
        codes = sorted(code for code, _, _ in both)
        assert codes in ([0, 0], [0, 2])
        assert all(code == 0 or is_one_line(said) for code, _, said in both), both
        assert case.results(folder) == whole


@cases(COMPARE, STUDY_RUN)
@pytest.mark.parametrize("turn", range(TRIES))
def test_slow_writes(case, turn, tmp_path):
    """Every change of a file waits, so that a kill by the clock is likely to meet one."""
    whole, seconds, changes = unbroken(case)
    folder = tmp_path / "out"
    fault = f"{folder}|0|{tmp_path / 'log'}|"
    process = case.start(folder, FAULT_AT=fault, FAULT="slow")
    time.sleep(seconds * 0.4 + seeded(case, 500 + turn).uniform(0, 1) * changes * 0.1)
    process.send_signal(signal.SIGKILL)
    code, _, _ = end(process)
    if code == 0:
        pytest.skip("it was done before")
    with attempt(SLOW, case.name):
        assert case.results(folder).items() <= whole.items()
        goes_on_to_the_whole(case, folder, tmp_path / "anew")


COUNTING = """
import cProfile, pstats, sys
from collections import Counter
from sltprob.grids.study import Study
import sltprob.grids.work, numpyro
numpyro.enable_x64()
study = Study.read(sys.argv[1])
counts = Counter()
sys.addaudithook(lambda event, _: counts.update([event]))
profile = cProfile.Profile()
assert profile.runcall(study.run, sys.argv[2]).complete
calls = pstats.Stats(profile).total_calls
looks = sum(counts[name] for name in ("open", "os.listdir", "os.scandir"))
changes = sum(counts[name] for name in ("os.mkdir", "os.rename", "os.remove", "os.link"))
print(looks, changes, calls)
"""


def test_a_store_of_ten_thousand_cells_opens_with_one_look_at_each(tmp_path):
    """Each file is read once, to be checked; nothing is done that grows with the cells twice."""
    path = tmp_path / "many.toml"
    path.write_text(
        '[[grid]]\nmodels = ["regular[dimension=1]"]\nsamplers = ["mala"]\nbetas = [1]\n'
        "seeds = 10000\n[budget]\ndraws = 20\nwarmup = 20\nchains = 2\n"
    )
    one = tmp_path / "one.toml"
    one.write_text(path.read_text().replace("10000", "1"))
    study = Study.read(one)
    folder = tmp_path / "store"
    study.run(folder)
    (cell,) = study.cells()
    draws, store = study.load(folder, cell), Store(folder)
    content = pack(draws)
    (name,) = store.files().values()
    digest = name.split(".")[1]
    (row,) = store.summaries.read().values()
    rows = []
    for other in Study.read(path).cells():
        file = f"{other.key}.{digest}.npz"
        (store.cells / file).write_bytes(content)
        rows.append({**row, "key": other.key, "file": file, "seed": other.seed})
    store.summaries.add(rows)
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, path, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    looks, changes, calls = map(int, done.stdout.split())
    with attempt("A store of 10,000 cells opens with one look at each cell", "study run"):
        assert looks < 10_100
        assert changes < 30
        assert calls < 80 * 10_000  # 64 for each cell; with the reading of hashlib and pathlib 111
    shutil.rmtree(folder)
