"""λ̂ over step size, nβ and γ, in one compilation: where it does not depend on them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sltprob.local_posterior import LocalPosterior
from sltprob.notebook import heading
from sltprob.notebook import table as html_table
from sltprob.report.figures import DASHES, SERIES, Figure, axis, line, rule
from sltprob.report.sheet import SheetTable, write_sheet
from sltprob.samplers import as_sampler
from sltprob.samplers._stochastic import StochasticGradientSampler
from sltprob.sampling.run import sample
from sltprob.trajectories.row import Row, rho_of, row_of, status_of, table

__all__ = ["Sweep", "local_sweep"]

# λ̂ of a plateau changes by less than this from one setting to the next.
_FLAT = 0.15
_NBETAS, _GAMMAS = (0.1, 0.3, 1.0, 3.0, 10.0), (1.0, 10.0)
_HEADINGS = ("nβ", "γ", "step", "λ̂", "interval", "ρ", "verdict (* plateau)")


@dataclass(frozen=True)
class Sweep:
    """λ̂ over settings.

    Parameters
    ----------
    rows : tuple of Row
        One for each setting, γ by γ.
    plateau : tuple of Row
        The settings between which λ̂ does not change; empty if there are none.
    """

    rows: tuple[Row, ...]
    plateau: tuple[Row, ...]

    @property
    def recommendation(self) -> str:
        """What to take, in words and numbers."""
        usable = [row for row in self.rows if math.isfinite(row.lambda_hat)]
        if not usable:
            return "No setting gave a number: begin with a smaller nbeta or a larger gamma."
        if not self.plateau:
            wrong = sum(row.verdict == "wrong" for row in self.rows)
            least = min(row.lambda_hat for row in usable)
            most = max(row.lambda_hat for row in usable)
            return (
                f"No plateau: λ̂ goes from {least:.3g} to {most:.3g}, and {wrong} of "
                f"{len(self.rows)} settings are wrong. Run 4 times as long, and try "
                f"gammas={_times(self.rows, 10)}."
            )
        best = self.chosen
        assert best is not None
        first, last = self.plateau[0], self.plateau[-1]
        trust = "" if best.verdict == "trusted" else f" It is {best.verdict}: {best.reason}."
        return (
            f"λ̂ = {best.lambda_hat:.4g} in [{best.low:.4g}, {best.high:.4g}] on a plateau from "
            f"nβ = {first.nbeta:.4g} to {last.nbeta:.4g} at γ = {best.gamma:g}: take "
            f"nbeta={best.nbeta:.4g}, gamma={best.gamma:g}, step_size={best.step_size:.2g}.{trust}"
        )

    @property
    def chosen(self) -> Row | None:
        """The setting in the middle of the plateau, a trusted one if there is one."""
        if not self.plateau:
            return None
        trusted = [row for row in self.plateau if row.verdict == "trusted"]
        pool = trusted or list(self.plateau)
        return pool[len(pool) // 2]

    def __str__(self) -> str:
        return f"{table(_HEADINGS, self._lines())}\n{self.recommendation}"

    def _repr_html_(self) -> str:
        """Show the sweep in a notebook."""
        return f"<div>{html_table(_HEADINGS, self._lines())}{heading(self.recommendation)}</div>"

    def _lines(self) -> list[list[str]]:
        return [
            [
                f"{row.nbeta:.4g}",
                f"{row.gamma:.4g}",
                f"{row.step_size:.2g}",
                f"{row.lambda_hat:.4g}",
                f"[{row.low:.4g}, {row.high:.4g}]",
                rho_of(row),
                row.verdict + (" *" if row in self.plateau else ""),
            ]
            for row in self.rows
        ]

    def write(self, path: str | os.PathLike[str], *, title: str = "Local λ̂ over settings") -> Path:
        """Write the page: λ̂ against nβ and against ε, the plateau marked.

        Parameters
        ----------
        path : path
        title : str

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            If no setting gave a number.
        OSError
            If the folder cannot be written.
        """
        found = [
            [
                f"{r.nbeta:.4g}",
                f"{r.gamma:.4g}",
                f"{r.step_size:.2g}",
                f"{r.lambda_hat:.4g}",
                f"{r.low:.4g} to {r.high:.4g}",
                rho_of(r),
                status_of(r),
            ]
            for r in self.rows
        ]
        headings = ["nβ", "γ", "ε", "λ̂", "interval", "ρ", "verdict"]
        return write_sheet(
            path,
            title=title,
            sentences=[self.recommendation],
            figures=self.figures(),
            tables=[SheetTable("All settings", headings, found, words=(6,))],
            sources=["E. Lau et al., The local learning coefficient, arXiv 2308.12108"],
        )

    def figures(self) -> list[Figure]:
        """Draw λ̂ against nβ and against the step size."""
        return [
            self._figure("nbeta", "λ̂ against nβ", "nβ", lambda row: row.nbeta),
            self._figure("step", "λ̂ against the step size", "ε", lambda row: row.step_size),
        ]

    def _figure(self, key: str, heading: str, label: str, of: Callable[[Row], float]) -> Figure:
        drawn = []
        for index, gamma in enumerate(dict.fromkeys(row.gamma for row in self.rows)):
            rows = sorted((r for r in self.rows if r.gamma == gamma), key=of)
            rows = [row for row in rows if math.isfinite(row.lambda_hat)]
            style: dict[str, Any] = {"color": SERIES[index % 6], "dash": DASHES[index % 6]}
            drawn.append(
                line(
                    [of(row) for row in rows],
                    [row.lambda_hat for row in rows],
                    name=f"γ = {gamma:g}",
                    **style,
                    error_y={
                        "type": "data",
                        "symmetric": False,
                        "array": [max(row.high - row.lambda_hat, 0) for row in rows],
                        "arrayminus": [max(row.lambda_hat - row.low, 0) for row in rows],
                    },
                )
            )
        best = self.chosen
        shapes = [] if best is None else [rule(best.lambda_hat, "plateau")]
        layout = {
            "height": 400,
            "xaxis": axis(label, type="log", exponentformat="power"),
            "yaxis": axis("λ̂"),
            "shapes": shapes,
        }
        caption = "Error bars are the reported intervals."
        return Figure(key, heading, caption, heading, {"data": drawn, "layout": layout}, wide=True)


def local_sweep(
    posterior: LocalPosterior,
    sampler: str = "sgld",
    *,
    nbetas: Sequence[float] | None = None,
    gammas: Sequence[float] | None = None,
    step_sizes: Sequence[float] | None = None,
    progress: Callable[[Row], None] | None = None,
    **options: Any,
) -> Sweep:
    """Measure λ̂ over nβ, γ and step sizes; everything compiles once.

    Parameters
    ----------
    posterior : LocalPosterior
    sampler : str
    nbetas : sequence of float, dimensionless, optional
        By default a tenth to ten times that of the posterior.
    gammas : sequence of float, optional
        By default that of the posterior and ten times as much.
    step_sizes : sequence of float, optional
        By default each setting finds its own.
    progress : callable, optional
        Called with each `Row` when it is there.
    **options
        Of `sltprob.sample`.

    Returns
    -------
    Sweep

    Raises
    ------
    TypeError
        If the posterior is not of `sltprob.local`.
    ValueError
        If a value is out of range.

    References
    ----------
    .. [1] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    """
    if not isinstance(posterior, LocalPosterior):
        raise TypeError(
            f"a {type(posterior).__name__} has no nβ and γ to sweep; write "
            "local_sweep(sltprob.local(loss, params, data))"
        )
    own_gamma = float(posterior.gamma) or 1.0
    nbetas = _numbers("nbetas", nbetas, [factor * float(posterior.nbeta) for factor in _NBETAS])
    gammas = _numbers("gammas", gammas, [factor * own_gamma for factor in _GAMMAS])
    steps = _numbers("step_sizes", step_sizes, [None])
    if isinstance(as_sampler(sampler), StochasticGradientSampler):
        options.setdefault("half_step", False)
    rows: list[Row] = []
    for gamma in gammas:
        for nbeta in sorted(nbetas):
            for step in steps:
                at = posterior.at(nbeta=nbeta, gamma=gamma)
                run = sample(at, sampler, step_size=step, **options)
                rows.append(row_of(f"nβ={nbeta:g} γ={gamma:g}", run, float(gamma)))
                if progress is not None:
                    progress(rows[-1])
    return Sweep(tuple(rows), _plateau(rows))


def _numbers(name: str, given: Any, default: list[Any]) -> list[Any]:
    """Read a list of settings, each of which is checked where it is used."""
    if given is None:
        return default
    if isinstance(given, str) or np.ndim(given) != 1 or not len(given):
        raise ValueError(f"{name}={given!r}: it must be a list of numbers, such as [100.0, 1000.0]")
    return list(given)


def _plateau(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Find the longest stretch of settings, at one γ, over which λ̂ stays the same."""
    best: list[Row] = []
    for gamma in dict.fromkeys(row.gamma for row in rows):
        current: list[Row] = []
        for row in (row for row in rows if row.gamma == gamma):
            good = row.verdict != "wrong" and row.lambda_hat > 0
            if good and current and _same(current[-1], row):
                current.append(row)
            else:
                current = [row] if good else []
            if len(current) >= 2 and _score(current) > _score(best):
                best = list(current)
    return tuple(best)


def _score(rows: Sequence[Row]) -> tuple[int, int]:
    return len(rows), sum(row.verdict == "trusted" for row in rows)


def _same(first: Row, second: Row) -> bool:
    return abs(math.log(second.lambda_hat / first.lambda_hat)) < _FLAT


def _times(rows: Sequence[Row], factor: float) -> str:
    values = [f"{factor * gamma:g}" for gamma in dict.fromkeys(row.gamma for row in rows)]
    return f"[{', '.join(values)}]"
