"""How often the verdict is wrong: runs good and bad on purpose, against exact answers.

The draws of every run are kept, so that a study that was stopped goes on where it was, and the
verdict of another day is scored on the same draws.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from sltprob import draws as schema
from sltprob.calibration.run import applies, make_run
from sltprob.calibration.score import Calibration, score
from sltprob.calibration.settings import Plan, is_training, plans
from sltprob.cell import summarise
from sltprob.diagnostics import diagnose
from sltprob.sampling.compilation import forgive_cache

__all__ = ["calibrate"]


def calibrate(
    folder: str | os.PathLike[str],
    *,
    small: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> Calibration:
    """Make the runs that are not there yet, judge all of them, and count the errors.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934) 404-413, for the intervals.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers}: it must be a whole number >= 1, such as 2")
    folder = Path(folder)
    chosen = [plan for plan in plans(small=small) if applies(plan)]
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    rows = []
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as handle:
        for row in _rows(chosen, folder, workers or os.cpu_count() or 1):
            handle.write(json.dumps(row) + "\n")
            handle.flush()
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(chosen), row)
    return score(rows)


def _rows(chosen: list[Plan], folder: Path, workers: int) -> Iterator[dict[str, Any]]:
    """Make the runs that are not there, and judge all, in the order of the plans."""
    # Runs of one sampler on one model share a compilation, so that one process has all of them.
    groups = [
        list(group)
        for _, group in itertools.groupby(
            chosen, key=lambda plan: (plan.model, plan.sampler, plan.setting.dtype)
        )
    ]
    if workers == 1:
        for group in groups:
            yield from _judge(group, folder)
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_begin_worker,
        initargs=(jax.config.jax_compilation_cache_dir,),
    ) as pool:
        for judged in pool.map(_judge, groups, itertools.repeat(folder)):
            yield from judged


def _begin_worker(compiled: str | None) -> None:
    """Set up JAX as in the process that asks; a core is for one worker."""
    os.environ["OMP_NUM_THREADS"] = "1"
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", compiled)
    forgive_cache()


def _judge(group: list[Plan], folder: Path) -> list[dict[str, Any]]:
    return [_row(plan, _run(plan, folder / "runs" / f"{plan.key}.nc")) for plan in group]


def _run(plan: Plan, path: Path) -> xr.DataTree:
    """Load the run, or make it and keep it."""
    if path.exists():
        return schema.load(path)
    draws = make_run(plan)
    schema.save(draws, path)
    return draws


def _row(plan: Plan, draws: xr.DataTree) -> dict[str, Any]:
    """Say in one row what was asked for, what came out, and what the verdict said."""
    verdict = diagnose(draws)
    cell = summarise(draws, verdict)
    names = ("lambda_hat", "mcse", "exact", "exact_mcse", "z", "ess", "verdict")
    return {
        "model": plan.model,
        "beta": plan.beta,
        "sampler": plan.sampler,
        "setting": plan.setting.name,
        "kind": plan.kind,
        "training": is_training(plan.model),
        **{name: cell[name] for name in names},
        "failed": cell["failed_checks"],
        "checks": {check.name: _number(check.value) for check in verdict.checks},
    }


def _number(value: float) -> float | None:
    """Give None for what JSON cannot say."""
    return value if abs(value) < float("inf") else None
