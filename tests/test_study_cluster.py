"""Do workers share a study well, and lose nothing when they are lost?"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict

import pytest
from studies import DEFINITION, SMALL, TOML, command, contents

from sltprob.grids.plan import make_plan
from sltprob.grids.reading import define
from sltprob.grids.study import Study
from sltprob.grids.tasks import Tasks

LONG = {"draws": 300, "warmup": 20, "chains": 2}

# Who does what


def tasks_of(samplers, seeds, budget=LONG, skip=()):
    grid = {**DEFINITION["grid"], "samplers": samplers, "seeds": seeds}
    plan = make_plan(define({"budget": budget, "grid": grid}))
    return plan, Tasks(plan, skip)


def test_each_cell_is_dealt_out_once_and_nothing_else_is():
    plan, tasks = tasks_of(["mala", "hmc"], 3)
    skip = {cell.key for cell in plan.cells() if cell.seed == 1}
    tasks = Tasks(plan, skip)
    dealt = [cell for _ in range(8) for cell in tasks.take("a")]
    assert tasks.take("a") is None
    assert tasks.take("b") is None
    assert {cell.key for cell in dealt} == {cell.key for cell in plan.cells()} - skip
    assert len(dealt) == 8


def test_small_cells_are_dealt_out_together():
    _, tasks = tasks_of(["mala"], 50, SMALL)
    sizes = []
    while (cells := tasks.take("a")) is not None:
        sizes.append(len(cells))
    assert sizes == [64, 36]


def test_workers_compile_each_program_once_until_they_help_each_other():
    _, tasks = tasks_of(["mala", "hmc", "barker", "random_walk"], 4)
    at = defaultdict(list)
    for _ in range(16):
        for worker in ("a", "b"):
            (cell,) = tasks.take(worker)
            at[worker].append(cell.setting.sampler)
    assert tasks.take("a") is None
    assert at["a"] == ["mala"] * 8 + ["barker"] * 8
    assert at["b"] == ["hmc"] * 8 + ["random_walk"] * 8


def test_workers_help_where_the_fewest_others_are():
    _, tasks = tasks_of(["mala", "hmc"], 8)
    took = [tasks.take(worker)[0].setting.sampler for worker in "abcd"]
    assert took == ["mala", "hmc", "mala", "hmc"]
    # With c and d lost, those who come have their places.
    tasks.keep({"a"})
    assert [tasks.take(worker)[0].setting.sampler for worker in "efa"] == ["hmc", "mala", "mala"]


# Refusals


def test_an_address_that_is_none_or_does_not_answer_is_refused():
    from sltprob.grids.cluster import DaskWorkers

    with pytest.raises(ValueError, match="local, or the address"):
        DaskWorkers("slurm")
    with pytest.raises(ValueError, match="--workers 0"):
        DaskWorkers("local", processes=0)
    with pytest.raises(ValueError, match="goes with --cluster local"):
        DaskWorkers("tcp://127.0.0.1:8786", processes=2)
    with pytest.raises(ValueError, match="no scheduler answers"):
        DaskWorkers("none://127.0.0.1")


# Real clusters


def local_cluster(**options):
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        silence_logs=50,
        **options,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_worker_killed_in_mid_cell_loses_nothing(tmp_path):
    """Two worker processes on loopback; the one that runs a cell is killed by its number."""
    from distributed import Client

    from sltprob.grids.cluster import DaskWorkers

    study = Study(
        {
            "budget": {"draws": 20000, "warmup": 100, "chains": 2},
            "grid": {
                "models": ["regular[dimension=1]"],
                "samplers": ["mala"],
                "betas": [1, 10],
                "seeds": 2,
            },
        }
    )
    whole, folder = tmp_path / "whole", tmp_path / "cluster"
    assert study.run(whole).complete
    with local_cluster() as cluster, Client(cluster) as client:
        killed = []

        def watch(event):
            if event.kind == "running" and event.detail["draws"] > 0 and not killed:
                numbers = client.run(os.getpid)
                busy = [address for address, tasks in client.processing().items() if tasks]
                killed.append(numbers[busy[0]])
                os.kill(killed[0], signal.SIGKILL)

        workers = DaskWorkers(cluster.scheduler_address)
        state = study.run(folder, workers=workers, watch=watch)
    assert killed
    assert state.complete
    assert contents(study, folder) == contents(study, whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cell_that_needs_too_much_memory_fails_alone(tmp_path):
    """Its draws take 480 MB; a worker may have 800 MB, of which JAX and the rest take half."""
    import dask

    from sltprob.grids.cluster import DaskWorkers

    hog = {"draws": 30000, "warmup": 20, "chains": 2, "keep": "all"}
    grid = {**DEFINITION["grid"], "seeds": 1}
    study = Study(
        {
            "exact": False,
            "grid": [
                {**grid, "models": ["regular[dimension=1000]"], "betas": [1], "budget": hog},
                {**grid, "budget": LONG},
                {**grid, "seeds": 20, "budget": SMALL},
            ],
        }
    )
    once = {"distributed.scheduler.allowed-failures": 0}
    with dask.config.set(once), local_cluster(memory_limit="800MB") as cluster:
        state = study.run(tmp_path, workers=DaskWorkers(cluster.scheduler_address))
    assert (state.stored, state.failed) == (42, 1)
    (error,) = state.errors
    assert error.startswith("regular[dimension=1000] mala β=1 seed=0: every worker that ran it")
    table = study.table(tmp_path)
    assert table["error"].notna().sum() == 1


@pytest.fixture
def scheduler(tmp_path):
    """Start `dask scheduler` on loopback; give its address, and a function that starts a worker."""
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            log = stack.enter_context((tmp_path / f"{arguments[0]}.log").open("w"))
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1"], stderr=log
                )
            )
            stack.callback(process.terminate)

        file = tmp_path / "scheduler.json"
        start("scheduler", "--port", "0", "--scheduler-file", str(file), "--no-dashboard")
        while not (file.is_file() and file.read_text()):
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        yield address, lambda: start("worker", address, "--nthreads", "1", "--no-dashboard")


@pytest.mark.slow
def test_a_scheduler_in_another_process_whose_workers_come_late(tmp_path, scheduler):
    """`dask scheduler` and `dask worker`, as on a cluster; single precision on the way."""
    address, start_worker = scheduler
    path = tmp_path / "study.toml"
    path.write_text('dtype = "float32"\n' + TOML)
    arguments = [sys.executable, "-m", "sltprob", "study", "run", path, "--json"]
    with subprocess.Popen(
        [*arguments, "--cluster", address], stdout=subprocess.PIPE, text=True
    ) as process:
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "waiting":
                start_worker()
    kinds = Counter(event["event"] for event in events)
    assert process.returncode == 0
    assert kinds["waiting"] == 1
    assert kinds["finished"] == 6
    here = tmp_path / "here"
    assert command("run", path, "--out", here, "--quiet").returncode == 0
    rows = [
        json.loads(command("table", path, "--out", folder, "--json").stdout)
        for folder in (tmp_path / "study", here)
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_local_workers_by_the_command(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TOML)
    done = command("run", path, "--cluster", "local", "--workers", "2")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert lines[0] == "6 cells; 6 to run"
    assert lines[-1] == "6/6 cells, done"
    assert all(
        line.startswith(("6 cells", "1/6", "2/6", "3/6", "4/6", "5/6", "6/6", "0/6"))
        for line in lines
    )
    assert done.stdout == f"6 of 6 cells stored in {tmp_path / 'study'}\n"
