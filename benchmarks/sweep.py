"""What a study costs beside its sampling: cells per second, the table, and a plan of a million.

    python benchmarks/sweep.py                   500 tiny cells, the table, the plan
    python benchmarks/sweep.py --cells 10000     as many as the limits are stated for
    python benchmarks/sweep.py --workers         one process against two, on a CPU-bound study of
                                                 two minutes; --draws 12000 makes it longer

Overhead per cell: all that happens after compilation, sampling included, divided by the cells.
Workers: everything from the call to its return counts, the start of the workers and their
compilation from nothing included. A worker draws with one thread; one process without workers
draws with two, but compiles and warms up with one.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # every run compiles

import duckdb
import numpyro

numpyro.enable_x64()

from sltprob.grids.cluster import DaskWorkers  # noqa: E402
from sltprob.grids.study import Study  # noqa: E402


def tiny(cells):
    return {
        "budget": {"draws": 20, "warmup": 20, "chains": 2},
        "grid": {
            "models": ["regular[dimension=1]"],
            "samplers": ["mala"],
            "betas": [1, 10, 100, 1000],
            "seeds": cells // 4,
        },
    }


def overhead(cells):
    study = Study(tiny(cells))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = []

        def watch(event):
            if event.kind == "finished" and not first:
                first.extend([time.perf_counter(), time.process_time()])

        study.run(folder, watch=watch)
        wall, cpu = time.perf_counter() - first[0], time.process_time() - first[1]
        print(f"{len(study)} cells: {1e3 * wall / (len(study) - 1):.1f} ms a cell after the first")
        print(f"  of which {1e3 * cpu / (len(study) - 1):.1f} ms of CPU time")
        begin = time.perf_counter()
        study.run(folder)
        print(f"run again, nothing to do, all files checked: {time.perf_counter() - begin:.2f} s")
        begin = time.perf_counter()
        study.table(folder)
        print(f"table written, all files checked: {time.perf_counter() - begin:.2f} s")
        query = (
            f"select model, sampler, beta, count(*), avg(lambda_hat), sqrt(avg(z * z)) "
            f"from '{folder / 'table.parquet'}' group by all order by beta"
        )
        begin = time.perf_counter()
        rows = duckdb.sql(query).fetchall()
        print(f"table query: {time.perf_counter() - begin:.3f} s, {len(rows)} groups")


def million():
    len(Study(tiny(8)))  # what JAX takes for itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    study = Study(tiny(1_000_000))
    checked = time.perf_counter() - begin
    count = sum(bool(cell.key) for cell in study.cells())
    walked = time.perf_counter() - begin - checked
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"plan of {count} cells: checked in {checked:.2f} s, every key made in {walked:.1f} s")
    print(f"  peak memory {after / 1024:.0f} MB, {(after - before) / 1024:.0f} MB of it the plan")


def workers(draws):
    # Two models, two samplers: four programs to compile, at 3000 draws a quarter of the work.
    study = Study(
        {
            "budget": {"draws": draws, "warmup": 500, "chains": 2},
            "exact": False,
            "grid": {
                "models": ["tanh_zero[width=64]", "tanh_zero[width=32]"],
                "samplers": ["mala", "hmc"],
                "betas": [1, 10, 100, 1000],
                "seeds": 2,
            },
        }
    )
    seconds = {}
    for processes in (1, 2, 0):
        with tempfile.TemporaryDirectory() as name:
            begins = []

            def watch(event, begins=begins):
                if event.kind == "running" and not begins:
                    begins.append(time.perf_counter())

            here, there = processor_seconds()
            begin = time.perf_counter()
            chosen = DaskWorkers("local", processes=processes) if processes else None
            state = study.run(name, workers=chosen, watch=watch)
            seconds[processes] = time.perf_counter() - begin
            here, there = (a - b for a, b in zip(processor_seconds(), (here, there), strict=True))
            assert state.complete
            what = f"{processes} workers" if processes else "in this process, no workers"
            print(
                f"{what}: {seconds[processes]:.1f} s, of which {begins[0] - begin:.1f} s before "
                f"the first cell; processor seconds: {here:.1f} here, {there:.1f} in workers",
                flush=True,
            )
    print(f"ratio {seconds[2] / seconds[1]:.3f}; half within 25 % is 0.625 or less")


def processor_seconds():
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [each.ru_utime + each.ru_stime for each in used]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--draws", type=int, default=3000)
    options = parser.parse_args()
    if options.workers:
        workers(options.draws)
        sys.exit()
    million()
    overhead(options.cells)
