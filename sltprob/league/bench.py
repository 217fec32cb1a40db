"""The league table: samplers by models by betas by seeds, scored against exact values."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sltprob import samplers as registry
from sltprob.cell import summarise
from sltprob.command import typed
from sltprob.comparison import measure
from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.files import new_folder, write_text
from sltprob.league.progress import LeagueProgress, shown_league
from sltprob.league.standing import Standing, score
from sltprob.models.base import Model
from sltprob.notebook import heading, table
from sltprob.posterior import TemperedPosterior
from sltprob.problem import Problem, problem
from sltprob.program import is_program
from sltprob.reference import answers
from sltprob.samplers.base import Sampler
from sltprob.sampling.assemble import model_name

__all__ = ["DEFAULT_BETAS", "DEFAULT_MODELS", "League", "bench"]

#: Small models with exact answers of three kinds: regular, a product of zeros, and a network.
DEFAULT_MODELS = ("regular", "normal_crossing[prior=normal]", "tanh_zero[width=4]")
DEFAULT_BETAS = (10.0, 1e3)
DEFAULT_SEEDS = (0, 1, 2, 3)


@dataclass(frozen=True)
class League:
    """A league table with what it was made from."""

    # By model, beta and sampler, in the order in which they were asked for; a sampler that does not
    # apply to a model is a row with its reason
    rows: tuple[Standing, ...]
    # One for each run, with the keys of `sltprob.cell.CELL_FIELDS`
    cells: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        from sltprob.league.text import league_markdown

        return league_markdown(self.rows)

    def _repr_html_(self) -> str:
        """Show the league in a notebook, a table for each model and β."""
        from sltprob.league.columns import LEAGUE_COLUMNS
        from sltprob.league.groups import grouped

        heads = ("sampler", *(column.heading for column in LEAGUE_COLUMNS))
        return "".join(
            heading(group.title)
            + table(
                heads, ((row.sampler, *(c.text(row) for c in LEAGUE_COLUMNS)) for row in group.rows)
            )
            for group in grouped(self.rows)
        )

    def write(self, folder: Path) -> None:
        """Write the table as Markdown, CSV and a page."""
        _write(self.rows, folder)


def bench(
    models: Sequence[Model | TemperedPosterior | Callable[..., Any] | str] = DEFAULT_MODELS,
    samplers: Sequence[Sampler | str] = (),
    betas: Sequence[float | str] = DEFAULT_BETAS,
    *,
    data: Data | Mapping[str, Any] | str | Path | None = None,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    out: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[LeagueProgress], None] = False,
    **options: Any,
) -> League:
    """Run samplers at several temperatures and seeds, and score them against what is known.

    Everything is compiled once for each model and sampler: not again for a beta or a seed.

    Parameters
    ----------
    models : sequence of Model, TemperedPosterior, callable or str
        Such as ``["regular", "tanh_zero[width=4]"]``, or programs of your own, which are scored
        against a reference: a trusted run of a ladder of temperatures from the prior.
    samplers : sequence of Sampler or str
        Such as ``["hmc", "sgld[step_size=1e-4]"]``; all samplers with their defaults if empty.
    betas : sequence of float, ``"n"`` or ``"wbic"``, dimensionless
    data : Data, mapping of str to array, data frame, or path, optional
        The arguments of the programs of your own among `models`.
    seeds : sequence of int
    out : path, optional
        A new or empty folder for ``league.md``, ``league.csv`` and ``league.html``, which are
        written whenever a model is finished.
    progress : bool or callable
        True shows a bar, and a line for each run, on standard error; a callable gets a
        `LeagueProgress` after each run.
    **options
        Of `sltprob.sample`, without ``seed``.

    Returns
    -------
    League

    Raises
    ------
    ValueError
        If an argument is out of range, or there is nothing to score against: no exact answer, and
        no run of a ladder that is trusted.

    References
    ----------
    .. [1] T. Moreau et al., "Benchopt: reproducible, efficient and collaborative optimization
       benchmarks", NeurIPS 2022, for rows that say why they are empty.
    .. [2] M. Magnusson et al., "posteriordb: testing, benchmarking and developing Bayesian
       inference algorithms", AISTATS 2025, for scores against reference values.
    """
    chosen = [_problem(model, data) for model in models]
    made = [registry.as_sampler(kernel) for kernel in samplers or registry.registry.types()[0]]
    if not chosen or not betas or not seeds:
        raise ValueError(
            f"{len(chosen)} models, {len(betas)} betas, {len(seeds)} seeds: there must be at "
            "least one of each, such as bench(['regular'], ['hmc'], [10.0], seeds=[0, 1, 2, 3])"
        )
    names = [registry.specification(kernel) for kernel in made]
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise ValueError(
            f"two of the samplers are called {twice}, and their rows would look the same; leave "
            "one out, or give its class another name"
        )
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={list(seeds)}: one of them comes twice, which is no new run")
    grounds = [_ground(model, betas) for model in chosen]
    folder = None if out is None else new_folder(out)
    reasons = [[kernel.applies_to(ground[0][0]) for kernel in made] for ground in grounds]
    total = sum(reason is None for row in reasons for reason in row) * len(betas) * len(seeds)
    rows: list[Standing] = []
    cells: list[dict[str, Any]] = []

    with shown_league(progress) as tell:

        def note(cell: dict[str, Any]) -> None:
            cells.append(cell)
            tell(LeagueProgress(len(cells), total, cell))

        for ground, row in zip(grounds, reasons, strict=True):
            standings = [
                _absent(ground, kernel, reason)
                if reason is not None
                else _stand(ground, kernel, seeds, note, options)
                for kernel, reason in zip(made, row, strict=True)
            ]
            rows += [own[place] for place in range(len(betas)) for own in standings]
            # A league that is interrupted was not for nothing.
            if folder is not None:
                _write(rows, folder)
    return League(tuple(rows), tuple(cells))


def _write(rows: Sequence[Standing], folder: Path) -> None:
    from sltprob.league.page import write_league  # brings Plotly
    from sltprob.league.text import league_csv, league_markdown

    write_text(league_markdown(rows), folder / "league.md")
    write_text(league_csv(rows), folder / "league.csv")
    write_league(rows, folder / "league.html", command=typed())


type Ground = list[tuple[TemperedPosterior, Exact]]


def _problem(model: Any, data: Any) -> Problem:
    """Read a benchmark; the data are for the programs of the user's own."""
    own = is_program(model) or (callable(model) and not isinstance(model, Model))
    return problem(model, data if own else None)


def _ground(chosen: Problem, betas: Sequence[float | str]) -> Ground:
    """Temper a model at every beta, beside its exact answer, or a reference."""
    values = [chosen.beta(beta) for beta in betas]
    ground = []
    for beta, answer in zip(values, answers(chosen, values), strict=True):
        if answer is None:
            raise ValueError(
                f"{chosen.name} has no exact answer at beta={beta:g}, and no run of a ladder from "
                "the prior is trusted there, so nothing can be scored on it; leave it out"
            )
        ground.append((chosen.at(beta), answer))
    return ground


def _absent(ground: Ground, kernel: Sampler, reason: str) -> list[Standing]:
    name = registry.specification(kernel)
    return [
        Standing(
            model=model_name(posterior),
            sampler=name,
            beta=float(posterior.beta),
            reason=reason,
            exact=answer.lambda_hat,
            exact_mcse=answer.mcse,
            exact_method=answer.method,
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
    name = registry.specification(kernel)
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
