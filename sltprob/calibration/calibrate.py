"""How often the verdict is wrong: runs good and bad on purpose, against exact answers.

The draws of every run are kept, so that a study that was stopped goes on where it was, and the
verdict of another day is scored on the same draws.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from sltprob import draws as schema
from sltprob.calibration.edits import edited
from sltprob.calibration.families import catalogue
from sltprob.calibration.plans import DEFAULT, plans
from sltprob.calibration.run import applies, damaged, make_run
from sltprob.calibration.score import Calibration, score
from sltprob.calibration.settings import (
    OwnProgram,
    Plan,
    is_training,
    plans_of_program,
)
from sltprob.cell import summarise
from sltprob.compilation_cache import forgive_cache
from sltprob.diagnostics import diagnose
from sltprob.estimation import estimate
from sltprob.files import whole, writable_folder, write_text
from sltprob.packed import pack
from sltprob.problem import problem
from sltprob.processes import without_interrupts
from sltprob.program import is_program

__all__ = ["calibrate"]

# Never fork: a forked JAX hangs.
_SPAWN = get_context("spawn")


def calibrate(
    folder: str | os.PathLike[str],
    *,
    model: str | None = None,
    data: str | os.PathLike[str] | None = None,
    betas: Sequence[float | str] = ("wbic", "n"),
    small: bool = False,
    part: str = "1/1",
    stored: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> Calibration:
    """Make the runs that are not there yet, judge all of them, and count the errors.

    Parameters
    ----------
    folder : path
        For the runs; what is there is not run again.
    model : str, optional
        A program of your own, ``"mine.py:function"``, in place of the models of the study: how
        often the verdict is wrong on it, against a reference from the prior.
    data : path, optional
        The arguments of the program.
    betas : sequence of float, ``"n"`` or ``"wbic"``, dimensionless
        Of the program.
    small : bool
        About a tenth of the runs.
    part : str
        ``"k/n"``: every n-th compilation with its runs, from the k-th; the n parts are all.
    stored : bool
        Judge the runs that are there, and make none.
    workers : int, optional
        Processes; one for each core by default.
    progress : callable, optional
        Called with the number of runs done and in all, and the row of the last one.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If an argument is out of range, or there is no trusted reference for the program.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934) 404-413, for the intervals.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers}: it must be a whole number >= 1, such as 2")
    folder = Path(folder)
    chosen_part = _read_part(part)
    # Before anything is computed.
    writable_folder(folder / "runs")
    wanted = (
        plans(small=small, part=chosen_part) if model is None else _of_program(model, data, betas)
    )
    chosen = [
        plan
        for plan in wanted
        if (_path(plan, folder / "runs").exists() if stored else applies(plan))
    ]
    rows = []
    for row in _rows(chosen, folder, stored, workers or os.cpu_count() or 1):
        rows.append(row)
        if progress is not None:
            progress(len(rows), len(chosen), row)
    write_text("".join(json.dumps(row) + "\n" for row in rows), folder / "rows.jsonl")
    return score(rows)


def _of_program(
    model: str, data: str | os.PathLike[str] | None, betas: Sequence[float | str]
) -> Iterator[Plan]:
    if not is_program(model) or data is None:
        raise ValueError(
            f"model={model!r}, data={data}: give a program and its data, such as mine.py:model and "
            "data.csv; the models of the study are chosen for it"
        )
    path, _, function = model.rpartition(":")
    chosen = problem(model, Path(data))
    own = OwnProgram(
        f"{Path(path).resolve()}:{function}",
        str(Path(data).resolve()),
        tuple(chosen.beta(beta) for beta in betas),
    )
    return plans_of_program(chosen.name, own)


def _read_part(text: str) -> tuple[int, int]:
    which, _, count = text.partition("/")
    if not (which.isdecimal() and count.isdecimal() and 1 <= int(which) <= int(count)):
        raise ValueError(f"part={text!r}: write k/n with 1 <= k <= n, such as 3/10")
    return int(which), int(count)


def _rows(chosen: list[Plan], folder: Path, stored: bool, workers: int) -> Iterator[dict[str, Any]]:
    """Make the runs that are not there, and judge all, in the order of the plans."""
    # Runs of one sampler on one model share a compilation, so that one process has all of them.
    groups = [
        list(group) for _, group in itertools.groupby(chosen, key=lambda plan: plan.compilation)
    ]
    if workers == 1:
        for group in groups:
            yield from _judge(group, folder, stored)
        return
    with (
        _lifeline() as (kept, given),
        ProcessPoolExecutor(
            workers,
            mp_context=_SPAWN,
            initializer=_begin_worker,
            initargs=(jax.config.jax_compilation_cache_dir, given),
        ) as pool,
    ):
        try:
            with without_interrupts():  # this is where the workers start
                judged = pool.map(
                    _judge, groups, itertools.repeat(folder), itertools.repeat(stored)
                )
            for rows in judged:
                yield from rows
        except BrokenProcessPool:
            raise ValueError(
                "a worker process has ended, perhaps for want of memory; finished runs stay in "
                f"{folder}, and the same call goes on, with fewer workers than {workers} if need be"
            ) from None
        except BaseException:
            kept.close()  # or leaving would wait for runs that nobody wants
            raise


@contextmanager
def _lifeline() -> Iterator[tuple[Connection, Connection]]:
    """Make a pipe; when the end that is kept closes, however that comes, workers end."""
    given, kept = _SPAWN.Pipe(duplex=False)
    with given, kept:
        yield kept, given


def _begin_worker(compiled: str | None, lifeline: Connection) -> None:
    """Set up JAX as in the process that asks; a core is for one worker."""
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", compiled)
    forgive_cache()


def _end_with(lifeline: Connection) -> None:
    """End this process when the one that asks has ended, or wants no more."""
    with contextlib.suppress(OSError):
        lifeline.poll(None)
    os._exit(1)


def _judge(group: list[Plan], folder: Path, stored: bool) -> list[dict[str, Any]]:
    return [_row(plan, _run(plan, folder / "runs", stored)) for plan in group]


def _sampled(plan: Plan) -> Plan:
    """Give the run that is sampled: that of an edited file is one at defaults."""
    return replace(plan, setting=DEFAULT) if plan.setting.is_of_file else plan


def _path(plan: Plan, folder: Path) -> Path:
    return folder / f"{_sampled(plan).key}.npz"


def _run(plan: Plan, folder: Path, stored: bool) -> xr.DataTree:
    """Load the run, or make it and keep it."""
    if plan.setting.is_of_file:
        draws = _run(_sampled(plan), folder, stored)
        if plan.setting.edit != "none":
            return edited(draws, plan.setting.edit)
        return damaged(draws, plan.setting.damage)
    path = _path(plan, folder)
    if path.exists():
        draws = schema.load(path)
        if stored or not _lacks_scouts(plan, draws):
            return draws
    draws = make_run(plan)
    with whole(path) as temporary:
        temporary.write_bytes(pack(draws))
    return draws


def _lacks_scouts(plan: Plan, draws: xr.DataTree) -> bool:
    """Say whether a run that sent no scouts out when it was made is trusted now, and sends them."""
    return (
        "scouts" not in draws.children and plan.setting.damage == "none" and diagnose(draws).trusted
    )


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
        "family": catalogue.family(plan.model),
        **{name: cell[name] for name in names},
        "error": None if cell["mcse"] is None else _number(estimate(draws).error),
        "failed": cell["failed_checks"],
        "checks": {check.name: _number(check.value) for check in verdict.checks},
    }


def _number(value: float) -> float | None:
    """Give None for what JSON cannot say."""
    return value if abs(value) < float("inf") else None
