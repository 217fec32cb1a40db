"""Does a study survive: killed, damaged, locked, on a full disk?"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time

import duckdb
import numpy as np
import pandas as pd
import polars
import pytest
from studies import DEFINITION, SMALL, TOML, command, contents

import sltprob
from sltprob.cell import CELL_FIELDS
from sltprob.grids.checkpoint import CellCheckpoint
from sltprob.grids.lock import FolderLock, LockedError
from sltprob.grids.store import Store
from sltprob.grids.study import Study
from sltprob.packed import fingerprint, pack, unpack


@pytest.fixture(scope="module")
def study():
    return Study(DEFINITION)


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    """A study that was never interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    assert study.run(folder).complete
    return folder


def copy_of(study, finished, folder):
    """Run nothing: put the stored cells elsewhere."""
    store = Store(folder)
    store.prepare()
    for name in Store(finished).files().values():
        (store.cells / name).write_bytes((finished / "cells" / name).read_bytes())
    return store


# The cells


def test_a_cell_is_addressed_by_all_that_determines_it(study):
    keys = {cell.key for cell in study.cells()}
    assert len(keys) == len(study) == 6
    again = Study(DEFINITION)
    assert {cell.key for cell in again.cells()} == keys
    for change in ({"draws": 21}, {"chains": 3}, {"keep": "all"}, {"warmup": 21}):
        other = Study({**DEFINITION, "budget": {**SMALL, **change}})
        assert keys.isdisjoint({cell.key for cell in other.cells()})
    same = Study(
        {**DEFINITION, "grid": {**DEFINITION["grid"], "models": ["regular[dimension=1.0]"]}}
    )
    assert {cell.key for cell in same.cells()} == keys


# The store


def test_a_finished_study_is_not_run_again(study, finished):
    events = []
    before = {path: path.stat().st_mtime_ns for path in (finished / "cells").iterdir()}
    study.run(finished, watch=events.append)
    assert [event.kind for event in events] == ["begin", "end"]
    assert {path: path.stat().st_mtime_ns for path in (finished / "cells").iterdir()} == before


def test_the_table_is_read_by_pandas_polars_and_duckdb(study, finished):
    study.table(finished)
    path = finished / "table.parquet"
    frame = pd.read_parquet(path)
    assert list(frame.columns[: len(CELL_FIELDS)]) == list(CELL_FIELDS)
    assert len(frame) == 6
    assert frame["error"].isna().all()
    assert polars.read_parquet(path)["beta"].to_list() == frame["beta"].tolist()
    counted = duckdb.sql(f"select beta, count(*) from '{path}' group by beta order by beta")
    assert counted.fetchall() == [(1.0, 3), (10.0, 3)]
    cell = next(study.cells())
    run = study.load(finished, cell)
    assert sltprob.estimate(run).value == frame["lambda_hat"][0]
    assert fingerprint(run) == frame["content"][0]


def test_a_stored_cell_is_a_run_like_any_other(finished):
    path = next((finished / "cells").iterdir())
    run = sltprob.load(path)
    assert sltprob.diagnose(run).status in ("trusted", "doubtful", "wrong")
    assert unpack(pack(run)).identical(run)


def test_any_flipped_byte_is_found_reported_and_run_again(study, finished, tmp_path):
    store = copy_of(study, finished, tmp_path)
    generator = random.Random(7)
    whole = contents(study, finished)
    name = sorted(store.files().values())[2]
    path = store.cells / name
    good = path.read_bytes()
    for _ in range(20):
        place = generator.randrange(len(good))
        path.write_bytes(
            good[:place] + bytes([good[place] ^ 1 << generator.randrange(8)]) + good[place + 1 :]
        )
        assert study.status(tmp_path).damaged == (str(path),)
    with pytest.raises(ValueError, match="damaged"):
        study.table(tmp_path)
    events = []
    assert study.run(tmp_path, watch=events.append).complete
    assert [event.kind for event in events].count("damaged") == 1
    assert (tmp_path / "damaged" / name).is_file()
    assert contents(study, tmp_path) == whole


def test_summaries_that_are_torn_or_changed_are_made_again(study, finished, tmp_path):
    store = copy_of(study, finished, tmp_path)
    study.run(tmp_path)
    rows = tmp_path / "rows.jsonl"
    text = rows.read_bytes()
    rows.write_bytes(text.replace(b'"beta": 10.0', b'"beta": 11.0', 1)[:-30])
    study.run(tmp_path)
    assert len(store.summaries.read()) == 6
    assert set(study.table(tmp_path)["beta"]) == {1.0, 10.0}


def test_a_failing_cell_is_recorded_and_retried(study, tmp_path, monkeypatch):
    """The exact value of one beta cannot be computed; the other cells do not care."""
    from sltprob.models.regular import Regular

    right = Regular.exact

    def wrong(self, beta, **options):
        if beta == 10:
            raise MemoryError("no memory\nfor this")
        return right(self, beta, **options)

    monkeypatch.setattr(Regular, "exact", wrong)
    state = study.run(tmp_path)
    assert (state.stored, state.failed) == (3, 3)
    assert "MemoryError: no memory for this" in state.errors[0]
    table = study.table(tmp_path)
    assert table["error"].notna().sum() == 3
    monkeypatch.setattr(Regular, "exact", right)
    assert study.run(tmp_path).failed == 3
    assert study.run(tmp_path, retry=True).complete
    assert study.table(tmp_path)["error"].isna().all()


# Going on


@pytest.mark.slow
def test_a_run_goes_on_from_its_last_piece_bit_for_bit(tmp_path):
    """Cut after every piece, with a sampler whose state is more than a position."""
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=3.0)
    options = {"draws": 150, "warmup": 30, "chains": 3, "seed": 5}
    whole = sltprob.sample(posterior, "dynamic_hmc", **options)
    store = Store(tmp_path)
    store.prepare()
    sltprob.sample(
        posterior, "dynamic_hmc", checkpoint=CellCheckpoint(store, "all", 0.0), **options
    )
    pieces = sorted(store.partial_folder("all").iterdir())
    # The warm-up, and each of the chunks in which scouts may be sent out.
    assert len(pieces) == 1 + 150 // 5
    for count in range(len(pieces) + 1):
        folder = store.partial_folder(f"cut{count}")
        folder.mkdir()
        for piece in pieces:
            # What comes after a damaged file is not used either.
            content = bytearray(piece.read_bytes())
            if int(piece.name) == count:
                content[len(content) // 2] ^= 1
            (folder / piece.name).write_bytes(content)
        again = sltprob.sample(
            posterior,
            "dynamic_hmc",
            checkpoint=CellCheckpoint(store, f"cut{count}", 0.0),
            **options,
        )
        assert fingerprint(again) == fingerprint(whole)
    np.testing.assert_array_equal(again["posterior"]["w"], whole["posterior"]["w"])


@pytest.mark.turns
def test_a_run_that_stops_at_its_target_goes_on_bit_for_bit(tmp_path):
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=1]"), beta=3.0)
    options = {"draws": 400, "warmup": 30, "chains": 2, "target_mcse": 0.05}
    whole = sltprob.sample(posterior, "mala", **options)
    store = Store(tmp_path)
    store.prepare()
    sltprob.sample(posterior, "mala", checkpoint=CellCheckpoint(store, "k", 0.0), **options)
    last = sorted(store.partial_folder("k").iterdir())[-1]
    last.unlink()
    again = sltprob.sample(posterior, "mala", checkpoint=CellCheckpoint(store, "k", 0.0), **options)
    assert fingerprint(again) == fingerprint(whole)


def test_what_is_missing_runs_with_the_same_bits_whatever_is_beside_it(study, finished, tmp_path):
    """Small cells share a call; which ones share it must not matter."""
    store = copy_of(study, finished, tmp_path)
    names = sorted(store.files().values())
    for name in names[1::2]:
        (store.cells / name).unlink()
    assert study.run(tmp_path).complete
    assert contents(study, tmp_path) == contents(study, finished)


# The lock


def test_a_live_run_keeps_others_off(study, tmp_path):
    with FolderLock(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        study.run(tmp_path)
    assert study.status(tmp_path).owner is None


@pytest.mark.parametrize(
    ("owner", "age"),
    [
        ({"host": socket.gethostname(), "process": 2**22 + 1}, 0),
        ({"host": socket.gethostname(), "process": os.getpid(), "started": "another boot"}, 0),
        ({"host": "another", "process": 1}, 3600),
        ("", 0),
    ],
    ids=["ended", "number used again", "another host, silent", "empty file"],
)
def test_a_stale_lock_is_taken_over(tmp_path, owner, age):
    path = tmp_path / "lock.json"
    path.write_text(json.dumps(owner) if owner else "")
    os.utime(path, (time.time() - age,) * 2)
    with FolderLock(tmp_path) as lock:
        assert lock.taken_over
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_another_host_that_was_seen_lately_is_alive(tmp_path):
    (tmp_path / "lock.json").write_text(json.dumps({"host": "another", "process": 1}))
    with pytest.raises(LockedError, match="on another, last seen"), FolderLock(tmp_path):
        pass


# The command line


@pytest.mark.slow
def test_the_commands_end_to_end(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TOML)
    planned = json.loads(command("plan", path, "--json").stdout)
    assert planned["cells"] == 6
    assert planned["seconds"] > 0
    assert planned["bytes"] > 0
    done = command("run", path, "--json")
    assert done.returncode == 0, done.stderr
    kinds = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    assert kinds.count("finished") == 6
    state = json.loads(command("status", path, "--json").stdout)
    assert state["complete"]
    groups = json.loads(command("table", path, "--json").stdout)
    assert [group["cells"] for group in groups] == [3, 3]
    assert len(pd.read_parquet(tmp_path / "sweep" / "table.parquet")) == 6
    quiet = command("run", path, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    plain = command("run", path)
    assert "6 stored; 0 to run" in plain.stderr


@pytest.mark.slow
def test_a_full_disk_stops_the_study_with_one_line_and_it_goes_on(tmp_path):
    """A limit on the size of files fails a write as a full disk does."""
    path = tmp_path / "sweep.toml"
    path.write_text(TOML)

    arguments = [sys.executable, "-m", "sltprob", "study", "run", path, "--quiet"]
    # Everything that is compiled would be kept, and cannot be.
    keeping = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=keeping) as process:
        # From outside and at once: between fork and exec, JAX warns of its threads.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (3000, 3000))
        said = process.stderr.read()
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert "cannot be written" in said
    assert list((tmp_path / "sweep" / "temporary").iterdir()) == []
    assert json.loads(command("status", path, "--json").stdout)["failed"] == 0
    assert command("run", path, "--quiet").returncode == 0


@pytest.mark.slow
def test_interrupted_it_says_so_in_one_line_and_goes_on(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(TOML.replace("draws = 20", "draws = 20000"))
    arguments = [sys.executable, "-m", "sltprob", "study", "run", path, "--json"]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if json.loads(line).get("draws"):
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        process.stdout.read()
    assert process.returncode == 130
    assert said.startswith("sltprob: stopped")
    assert said.count("\n") == 1
    assert not (tmp_path / "sweep" / "lock.json").exists()
    assert command("run", path, "--quiet").returncode == 0


KILLED = """
[budget]
draws = 2000
warmup = 100
chains = 2
[[grid]]
models = ["regular[dimension=1]"]
samplers = ["mala"]
betas = [1]
seeds = 4
[[grid]]
models = ["regular[dimension=1]"]
samplers = ["mala"]
betas = [1, 10]
seeds = 60
budget = {draws = 20, warmup = 20}
[[grid]]
models = ["regular[dimension=1]"]
samplers = ["mala"]
betas = [10]
seeds = 16
"""


@pytest.mark.slow
def test_twenty_kills_at_random_moments_lose_nothing(tmp_path):
    """Every kill is after a random number of events, so that all of them find work to disturb."""
    path = tmp_path / "study.toml"
    path.write_text(KILLED)
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert command("run", path, "--out", whole, "--quiet", env=environment).returncode == 0
    generator = random.Random(20)
    arguments = [sys.executable, "-m", "sltprob", "study", "run", path, "--out", killed, "--json"]
    stored: set[str] = set()
    for _ in range(20):
        with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as process:
            for _ in range(generator.randint(0, 110)):
                process.stdout.readline()
            time.sleep(generator.uniform(0.0, 0.05))
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        now = {file.name for file in (killed / "cells").glob("*.npz")}
        assert stored <= now  # what was stored stays, and is not made again
        stored = now
    assert 0 < len(stored) < 140
    done = command("run", path, "--out", killed, "--quiet", env=environment)
    assert done.returncode == 0, done.stderr
    study = Study.read(path)
    assert study.status(killed).damaged == ()
    assert len(contents(study, killed)) == 140
    assert contents(study, killed) == contents(study, whole)
    assert list((killed / "temporary").iterdir()) == []


# Limits


def test_a_plan_of_a_million_cells_is_checked_without_making_them():
    document = {**DEFINITION["grid"], "seeds": 500_000}
    study = Study({**DEFINITION, "grid": document})
    assert len(study) == 1_000_000
    assert next(study.cells()).seed == 0


def test_a_study_of_the_wrong_precision_is_refused():
    with pytest.raises(ValueError, match="enable_x64"):
        Study({**DEFINITION, "dtype": "float32"})
