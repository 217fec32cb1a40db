"""Compare samplers at several temperatures, against the exact answer: one object, one table."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from sltprob import draws as schema
from sltprob import samplers as registry
from sltprob.cell import CELL_FIELDS, name_of_truth, summarise
from sltprob.command import typed
from sltprob.data import Data
from sltprob.estimation import estimate
from sltprob.exact import Exact
from sltprob.files import new_folder, write_csv
from sltprob.models import Model
from sltprob.notebook import table
from sltprob.posterior import TemperedPosterior
from sltprob.problem import Problem, problem
from sltprob.progress import NotebookBar, ProgressBar, shown
from sltprob.reference import answers
from sltprob.samplers.base import Sampler
from sltprob.sampling import Progress, sample

__all__ = ["Comparison", "check_applicable", "compare", "measure", "with_exact"]


def compare(
    model: Model | TemperedPosterior | Callable[..., Any] | str = "tanh_zero",
    samplers: Sampler | str | Sequence[Sampler | str] = ("sgld", "mala", "hmc"),
    betas: float | str | Sequence[float | str] = (1.0, 1e2, 1e4),
    *,
    data: Data | Mapping[str, Any] | str | Path | None = None,
    minimum_loss: float | None = None,
    reparameterise: str | None = None,
    rows: str | int | None = None,
    draws: int = 2000,
    out: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[Progress], None] = False,
    **options: Any,
) -> Comparison:
    """Measure lambda-hat with several samplers at several temperatures, against the exact value.

    Parameters
    ----------
    model : Model, TemperedPosterior, callable or str
        Such as ``"tanh_zero[width=64]"``; or a program of your own, a function or
        ``"mine.py:function"``.
    samplers : Sampler or str, or a sequence of them
    betas : float, ``"n"`` or ``"wbic"``, or a sequence of them, dimensionless
    data : Data, mapping of str to array, or path, optional
        The arguments of a program of your own.
    minimum_loss : float, optional
        L*, in nats per datum; searched for where it is not known.
    reparameterise, rows : optional
        Of `sltprob.temper`.
    draws : int
        Kept draws per chain.
    out : path, optional
        A new or empty folder for ``report.html``, ``summary.csv`` and every run, each stored when
        it is finished.
    progress : bool or callable
        True shows a bar, and a line for each finished run, on standard error; a callable gets a
        `Progress` after each stage and chunk.
    **options
        Of `sltprob.sample`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If an argument is out of range, a sampler does not apply, or `out` holds something.
    """
    chosen = problem(
        model, data, minimum_loss=minimum_loss, reparameterise=reparameterise, rows=rows
    )
    samplers = [samplers] if isinstance(samplers, str | Sampler) else samplers
    betas = [betas] if isinstance(betas, str | float | int) else betas
    kernels = [registry.as_sampler(name) for name in samplers]
    values = list(dict.fromkeys(chosen.beta(beta) for beta in betas))
    if not kernels or not values:
        what, example = ("betas", [1.0, 1e2]) if kernels else ("samplers", ["sgld", "hmc"])
        raise ValueError(f"{what} is empty; give some, such as {example}")
    posteriors = [chosen.at(value) for value in values]
    check_applicable(kernels, posteriors[0])
    folder = None if out is None else new_folder(out)
    found = []
    with shown(progress) as bar:
        known = answers(chosen, values, progress=bar)
        for kernel in kernels:
            for posterior, answer in zip(posteriors, known, strict=True):
                run = measure(posterior, kernel, exact=answer, progress=bar, draws=draws, **options)
                cell = summarise(run)
                if isinstance(bar, NotebookBar | ProgressBar):
                    bar.tell(line_of(run, cell), cell["verdict"])
                if folder is not None:
                    schema.save(run, folder / "runs" / f"{file_name(cell)}.nc")
                found.append((run, cell))
    found.sort(key=lambda pair: values.index(pair[1]["beta"]))
    comparison = Comparison(tuple(run for run, _ in found), tuple(cell for _, cell in found))
    if folder is not None:
        comparison.write(folder, _curve(chosen, values))
    return comparison


def measure(
    posterior: TemperedPosterior,
    sampler: Sampler | str,
    *,
    exact: Exact | None = None,
    **options: Any,
) -> xr.DataTree:
    """Sample, and put the exact value beside the draws."""
    return with_exact(sample(posterior, sampler, **options), exact)


def with_exact(draws: xr.DataTree, exact: Exact | None) -> xr.DataTree:
    """Put the exact value into the attributes of a run, which is changed.

    So the file can be judged without computing the value again.
    """
    if exact is not None:
        draws.attrs |= {
            "exact": exact.lambda_hat,
            "exact_mcse": exact.mcse,
            "exact_free_energy": exact.free_energy,
            "exact_free_energy_mcse": exact.free_energy_mcse,
            "exact_method": exact.method,
        }
    return draws


def check_applicable(kernels: Sequence[Sampler], posterior: TemperedPosterior) -> None:
    """Refuse samplers that cannot draw from a posterior, before anything runs."""
    for kernel in kernels:
        reason = kernel.applies_to(posterior)
        if reason is not None:
            raise ValueError(f"{registry.name_of(kernel)} does not apply: {reason}; leave it out")


def file_name(cell: Mapping[str, Any]) -> str:
    """Name a run so that a person recognises it, and any file system takes it."""
    safe = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in cell["sampler"])
    return f"{safe.strip('-')}-beta{cell['beta']:g}-seed{cell['seed']}"


def line_of(run: xr.DataTree, cell: Mapping[str, Any]) -> str:
    """Say in one line what a run has measured."""
    averaged = ""
    if "energy_excess" in run["sample_stats"]:
        better = estimate(run, rao_blackwell=True)
        averaged = f" ({better.value:.4g} ± {better.mcse:.2g} with the readout averaged)"
    value, mcse = _show(cell["lambda_hat"], ".4g"), _show(cell["mcse"], ".2g")
    measured = f"λ̂ = {value} ± {mcse}{averaged}"
    return f"{cell['sampler']} β={cell['beta']:g}: {measured}, {cell['verdict']}"


def _curve(chosen: Problem, betas: Sequence[float]) -> list[Exact]:
    """Give the exact curve over the range of betas, a few points a decade."""
    low, high = math.log10(min(betas)), math.log10(max(betas))
    points = max(2, math.ceil(3 * (high - low)) + 1)
    grid = {10 ** (low + (high - low) * index / (points - 1)) for index in range(points)}
    found = [chosen.exact(beta) for beta in sorted(grid | set(betas))]
    return [exact for exact in found if exact is not None]


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison with their cells.

    Parameters
    ----------
    runs : tuple of xarray.DataTree
    cells : tuple of dict
        One for each run, with the keys of `sltprob.cell.CELL_FIELDS`.
    """

    runs: tuple[xr.DataTree, ...]
    cells: tuple[dict[str, Any], ...]

    @property
    def recommendation(self) -> str:
        """One sentence: which sampler to use and why; empty where only one has run."""
        from sltprob.report.answer import recommendation  # brings Plotly
        from sltprob.report.judged import judge

        return recommendation(judge(self.runs))

    def write(self, folder: Path, curve: Sequence[Exact] = ()) -> None:
        """Write the page and the table into a folder.

        Parameters
        ----------
        folder : pathlib.Path
        curve : sequence of Exact
            Exact values on a grid of beta, drawn as a line.
        """
        from sltprob.report import write_report  # brings Plotly, which comparing does not need

        write_csv(self.cells, folder / "summary.csv", CELL_FIELDS)
        write_report(
            self.runs,
            folder / "report.html",
            curve=curve,
            title=self.cells[0]["model"],
            command=typed(),
        )

    @property
    def _headings(self) -> tuple[str, ...]:
        return ("sampler", "β", "λ̂ ± MCSE", name_of_truth(self.cells), "z", "ESS", "verdict")

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                cell["sampler"],
                f"{cell['beta']:g}",
                f"{_show(cell['lambda_hat'], '.4g')} ± {_show(cell['mcse'], '.2g')}",
                _show(cell["exact"], ".4g"),
                _show(cell["z"], "+.1f"),
                _show(cell["ess"], ".0f"),
                cell["verdict"],
            )
            for cell in sorted(self.cells, key=lambda cell: float(cell["beta"]))
        ]

    def __str__(self) -> str:
        rows = [self._headings, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        return table(self._headings, self._rows())


def _show(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
