"""The league table: samplers by models by betas by seeds, scored against exact values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sltprob import models, samplers
from sltprob.cell import summarise
from sltprob.comparison import measure
from sltprob.exact import Exact
from sltprob.league.standing import Standing, score
from sltprob.models.base import Model
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler
from sltprob.tempering import temper

__all__ = ["League", "LeagueProgress", "league"]

#: Small models with exact answers of three kinds: regular, a product of zeros, and a network.
DEFAULT_MODELS = ("regular", "normal_crossing[prior=normal]", "tanh_zero[width=4]")
DEFAULT_BETAS = (10.0, 1e3)
DEFAULT_SEEDS = (0, 1, 2, 3)


@dataclass(frozen=True)
class LeagueProgress:
    """What is known while a league goes on."""

    done: int  # Runs
    total: int  # Runs
    # Of the run that has just ended, with the keys of `sltprob.cell.CELL_FIELDS`
    cell: dict[str, Any]
    # Of the models that are finished, so that a league that is interrupted was not for nothing
    rows: tuple[Standing, ...]


@dataclass(frozen=True)
class League:
    """A league table with what it was made from."""

    # By model, beta and sampler, in the order in which they were asked for; a sampler that does not
    # apply to a model is a row with its reason
    rows: tuple[Standing, ...]
    # One for each run, with the keys of `sltprob.cell.CELL_FIELDS`
    cells: tuple[dict[str, Any], ...]


def league(
    benchmarks: Sequence[Model | str] = DEFAULT_MODELS,
    kernels: Sequence[Sampler | str] = (),
    betas: Sequence[float] = DEFAULT_BETAS,
    *,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    progress: Callable[[LeagueProgress], None] | None = None,
    **options: Any,
) -> League:
    """Run samplers on models with exact answers, at several temperatures and seeds, and score them.

    Everything is compiled once for each model and sampler: not again for a beta or a seed.

    Parameters
    ----------
    benchmarks : sequence of Model or str
        Such as ``["regular", "tanh_zero[width=4]"]``.
    kernels : sequence of Sampler or str
        Such as ``["hmc", "sgld[step_size=1e-4]"]``; all samplers with their defaults if empty.
    betas : sequence of float, dimensionless
    seeds : sequence of int
    progress : callable, optional
        Called with a `LeagueProgress` after each run.
    **options
        Of `sltprob.sample`, without ``seed``.

    Returns
    -------
    League

    Raises
    ------
    ValueError
        If an argument is out of range, or a model has no exact answer to score against.

    References
    ----------
    .. [1] T. Moreau et al., "Benchopt: reproducible, efficient and collaborative optimization
       benchmarks", NeurIPS 2022, for rows that say why they are empty.
    .. [2] M. Magnusson et al., "posteriordb: testing, benchmarking and developing Bayesian
       inference algorithms", AISTATS 2025, for scores against reference values.
    """
    chosen = [models.get(model) if isinstance(model, str) else model for model in benchmarks]
    made = [
        samplers.get(kernel) if isinstance(kernel, str) else kernel
        for kernel in kernels or samplers.registry.names()
    ]
    if not chosen or not betas or not seeds:
        raise ValueError(
            f"{len(chosen)} models, {len(betas)} betas, {len(seeds)} seeds: there must be at "
            "least one of each, such as league(['regular'], ['hmc'], [10.0], seeds=[0, 1, 2, 3])"
        )
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={list(seeds)}: one of them comes twice, which is no new run")
    grounds = [_ground(model, betas) for model in chosen]
    reasons = [[kernel.applies_to(ground[0][0]) for kernel in made] for ground in grounds]
    total = sum(reason is None for row in reasons for reason in row) * len(betas) * len(seeds)
    rows: list[Standing] = []
    cells: list[dict[str, Any]] = []

    def note(cell: dict[str, Any]) -> None:
        cells.append(cell)
        if progress is not None:
            progress(LeagueProgress(len(cells), total, cell, tuple(rows)))

    for ground, row in zip(grounds, reasons, strict=True):
        standings = [
            _absent(ground, kernel, reason)
            if reason is not None
            else _stand(ground, kernel, seeds, note, options)
            for kernel, reason in zip(made, row, strict=True)
        ]
        rows += [own[place] for place in range(len(betas)) for own in standings]
    return League(tuple(rows), tuple(cells))


type Ground = list[tuple[TemperedPosterior, Exact]]


def _ground(model: Model, betas: Sequence[float]) -> Ground:
    """Temper a model at every beta, beside its exact answer."""
    start = temper(model, beta=float(betas[0]))
    answers = [model.exact(float(beta)) for beta in betas]
    known = [answer for answer in answers if answer is not None]
    if len(known) < len(answers):
        raise ValueError(
            f"{models.specification(model)} has no exact answer at beta={betas[len(known)]:g}, so "
            "nothing can be scored on it; sltprob exact MODEL says what is known"
        )
    return [(start.at(answer.beta), answer) for answer in known]


def _absent(ground: Ground, kernel: Sampler, reason: str) -> list[Standing]:
    name = samplers.specification(kernel)
    return [
        Standing(
            model=models.specification(posterior.structure.model),
            sampler=name,
            beta=float(posterior.beta),
            reason=reason,
            exact=answer.lambda_hat,
            exact_mcse=answer.mcse,
        )
        for posterior, answer in ground
    ]


def _stand(
    ground: Ground,
    kernel: Sampler,
    seeds: Sequence[int],
    note: Callable[[dict[str, Any]], None],
    options: dict[str, Any],
) -> list[Standing]:
    """Run one sampler on one model, and score it at every beta."""
    standings, compiling = [], 0.0
    name = samplers.specification(kernel)
    for posterior, answer in ground:
        runs = []
        for seed in seeds:
            run = measure(posterior, kernel, exact=answer, seed=seed, keep="loss", **options)
            # What a pilot run settles, such as the number of rungs, may differ from seed to seed.
            run.attrs["sampler"] = name
            note(summarise(run))
            runs.append(run)
        standing = score(runs)
        compiling += standing.seconds_compile or 0.0
        standings.append(standing)
    return [standing.with_compilation(compiling) for standing in standings]
