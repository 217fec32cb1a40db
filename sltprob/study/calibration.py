"""How often the verdict is wrong: runs good and bad on purpose, against exact answers.

The draws of every run are kept, so that a study that was stopped goes on where it was, and the
verdict of another day is scored on the same draws.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from sltprob import draws as schema
from sltprob.diagnostics import diagnose
from sltprob.study._calibration_grid import Plan, is_training, plans
from sltprob.study._calibration_run import applies, make_run
from sltprob.study.calibration_score import Calibration, score
from sltprob.study.cell import summarise

__all__ = ["calibrate"]


def calibrate(
    folder: str | os.PathLike[str],
    *,
    small: bool = False,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> Calibration:
    """Make the runs that are not there yet, judge all of them, and count the errors.

    Parameters
    ----------
    folder : path
        Gets ``runs/`` with the draws, ``rows.jsonl`` with one line a run, and ``scores.json``.
    small : bool
        About a tenth of the runs.
    progress : callable, optional
        Called with the number of runs done, their total and the row of the last.

    Returns
    -------
    Calibration

    Raises
    ------
    OSError
        If the folder cannot be written.
    ValueError
        If a stored run is damaged.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934) 404-413, for the intervals.
    """
    folder = Path(folder)
    chosen = [plan for plan in plans(small=small) if applies(plan)]
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    rows = []
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as handle:
        for plan in chosen:
            row = _row(plan, _run(plan, folder / "runs" / f"{plan.key}.nc"))
            handle.write(json.dumps(row) + "\n")
            handle.flush()
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(chosen), row)
    return score(rows)


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
        "kind": plan.setting.kind,
        "training": is_training(plan.model),
        **{name: cell[name] for name in names},
        "failed": cell["failed_checks"],
        "checks": {check.name: _number(check.value) for check in verdict.checks},
    }


def _number(value: float) -> float | None:
    """Give None for what JSON cannot say."""
    return value if abs(value) < float("inf") else None
