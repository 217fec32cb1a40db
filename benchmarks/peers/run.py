"""Run all jobs, each in a process of its own on a core of its own, and write results.json.

    python run.py --environments .peers [--only PATTERN] [--page ../../docs/peers.md]

Jobs run two at a time where there are two cores, each pinned to one; jobs on all cores run alone.
Seconds are those of the processor, so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import json
import os
import platform
import queue
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import measures
import work

HERE = Path(__file__).parent
#: A job ends itself at its limit, in seconds of the processor; on a busy machine that takes longer
#: by the clock, and one that has not ended by then is ended.
GRACE = 6.0


def environment(job: dict[str, Any]) -> str:
    """Name the environment that a peer needs."""
    return job.get("environment", "jax")


def command(job: dict[str, Any], folder: Path, environments: Path, cores: list[int]) -> list[str]:
    python = environments.resolve() / environment(job) / "bin" / "python"
    pinned = ["taskset", "-c", ",".join(map(str, cores))]
    return [*pinned, str(python), str(HERE / "job.py"), json.dumps(job), str(folder / job["name"])]


def settings(job: dict[str, Any], folder: Path) -> dict[str, str]:
    count = str(job["cores"])
    extra = {
        "PEERS_BEGIN": str(time.time()),
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "NUMBA_NUM_THREADS": count,
        "RAYON_NUM_THREADS": count,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "JAX_ENABLE_X64": "1",
        "PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor' / job['name']}",
        # Of its own, so that Stan compiles for every job.
        "XDG_CACHE_HOME": str(folder / "cache" / job["name"]),
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "default",
    }
    if job["cores"] == 1:
        extra["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    # A library for another processor would be slower for some peers and not for others.
    dropped = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | extra


def one(job: dict[str, Any], folder: Path, environments: Path, cores: list[int]) -> dict[str, Any]:
    """Run a job and measure what it gives."""
    (folder / "cache" / job["name"]).mkdir(parents=True, exist_ok=True)
    begin = time.time()
    with (folder / f"{job['name']}.log").open("w") as log:
        process = subprocess.Popen(
            command(job, folder, environments, cores),
            stdout=log,
            stderr=log,
            env=settings(job, folder),
            cwd=HERE,
            start_new_session=True,
        )
        try:
            process.wait(timeout=GRACE * job["limit"])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
    record = measures.read(job, folder)
    record["seconds_clock"] = round(time.time() - begin, 1)
    print(measures.line(record), flush=True)
    return record


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--only", default="*")
    parser.add_argument("--add", action="store_true", help="keep what is in the results already")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--cores", type=int, nargs="*", default=sorted(os.sched_getaffinity(0))[:2])
    asked = parser.parse_args()
    every = work.jobs()
    jobs = [job for job in every if fnmatch.fnmatch(job["name"], asked.only)]
    alone = [job for job in jobs if job["cores"] > 1]
    single = [job for job in jobs if job["cores"] == 1]
    records: dict[str, dict[str, Any]] = {}
    minutes = 0.0
    if asked.add and asked.out.exists():
        kept = json.loads(asked.out.read_text())
        records, minutes = {job["name"]: job for job in kept["jobs"]}, kept["minutes"]
    begin = time.time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for job in single:
            waiting.put(job)

        def work_on(core: int) -> None:
            while True:
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    return
                records[job["name"]] = one(job, folder, asked.environments, [core])

        threads = [threading.Thread(target=work_on, args=(core,)) for core in asked.cores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for job in alone:
            records[job["name"]] = one(job, folder, asked.environments, asked.cores)
    minutes += round((time.time() - begin) / 60, 1)
    results = {
        "date": datetime.date.today().isoformat(),
        "minutes": minutes,
        "machine": {
            "cores": len(asked.cores),
            "processor": platform.machine(),
            "system": platform.system(),
        },
        "versions": measures.versions(records.values()),
        "jobs": [records[job["name"]] for job in every if job["name"] in records],
    }
    asked.out.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    print(f"{len(jobs)} jobs in {results['minutes']} minutes: {asked.out}")


if __name__ == "__main__":
    main()
