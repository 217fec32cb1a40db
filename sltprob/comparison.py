"""Measure: sample, and put the exact value beside the draws; one cell, or a grid of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import xarray as xr

from sltprob import models, samplers
from sltprob.cell import summarise
from sltprob.exact import Exact
from sltprob.models.base import Model
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler
from sltprob.sampling import sample
from sltprob.tempering import temper

__all__ = ["Comparison", "check_applicable", "compare", "measure", "with_exact"]


def measure(
    posterior: TemperedPosterior,
    sampler: Sampler | str,
    *,
    exact: Exact | None = None,
    **options: Any,
) -> xr.DataTree:
    """Run one cell of a comparison.

    Parameters
    ----------
    posterior : TemperedPosterior
    sampler : Sampler or str
    exact : Exact, optional
        The exact value at this beta, kept in the attributes of the run so that the file can
        be judged without computing it again.
    **options
        Of `sltprob.sample`.

    Returns
    -------
    xarray.DataTree

    Raises
    ------
    ValueError
        If an option is out of range.
    """
    return with_exact(sample(posterior, sampler, **options), exact)


def with_exact(draws: xr.DataTree, exact: Exact | None) -> xr.DataTree:
    """Put the exact value into the attributes of a run, where one is known.

    Parameters
    ----------
    draws : xarray.DataTree
        It is changed.
    exact : Exact or None

    Returns
    -------
    xarray.DataTree
        The same run.
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
    """Refuse samplers that cannot draw from a posterior, before anything runs.

    Parameters
    ----------
    kernels : sequence of Sampler
    posterior : TemperedPosterior

    Raises
    ------
    ValueError
        If one of them does not apply; the message says why.
    """
    for kernel in kernels:
        reason = kernel.applies_to(posterior)
        if reason is not None:
            raise ValueError(f"{samplers.name_of(kernel)} does not apply: {reason}; leave it out")


def compare(
    model: Model | str,
    kernels: Sequence[Sampler | str] = ("sgld", "mala", "hmc"),
    betas: Sequence[float] = (1.0, 1e2, 1e4),
    reparameterise: str | None = None,
    **options: Any,
) -> Comparison:
    """Measure lambda-hat with several samplers at several temperatures, against the exact value.

    Parameters
    ----------
    model : Model or str
        Such as ``"tanh_zero[width=64]"``.
    kernels : sequence of Sampler or str
    betas : sequence of float, dimensionless
    reparameterise : str, optional
        Of `sltprob.temper`.
    **options
        Of `sltprob.sample`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If an argument is out of range, or a sampler does not apply.
    """
    chosen = models.get(model) if isinstance(model, str) else model
    made = [samplers.get(kernel) if isinstance(kernel, str) else kernel for kernel in kernels]
    posteriors = [temper(chosen, beta=beta, reparameterise=reparameterise) for beta in betas]
    for posterior in posteriors:
        check_applicable(made, posterior)
    answers = [chosen.exact(float(posterior.beta)) for posterior in posteriors]
    runs = [
        measure(posterior, kernel, exact=answer, **options)
        for kernel in made
        for posterior, answer in zip(posteriors, answers, strict=True)
    ]
    return Comparison(tuple(runs), tuple(summarise(run) for run in runs))


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
        rows = [_HEADINGS, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in _HEADINGS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
            for row in self._rows()
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


_HEADINGS = ("sampler", "β", "λ̂ ± MCSE", "exact", "z", "ESS", "verdict")


def _show(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
