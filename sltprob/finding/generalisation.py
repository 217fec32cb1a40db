"""What n data teach a network, beside lambda-hat at the scale n: how it generalises.

The tanh network learns zero from n drawn pairs, ``x ~ N(0, 1)`` and ``y ~ N(0, 1)``, by Bayes with
the likelihood ``N(y; f(x), 1)``.
Losses are relative to the true density and times n: what is lambda / n in theory is lambda here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltprob.collapsed import PrecisionError
from sltprob.collapsed.common import log_mean_exp
from sltprob.command import typed
from sltprob.files import write_csv
from sltprob.finding.datasets import QUANTITIES, Basis, evaluate_dataset
from sltprob.finding.paper import write_svg
from sltprob.finding.sources import SOURCES
from sltprob.models.tanh_zero import TanhZero
from sltprob.report.figures import Figure, axis, chart, line
from sltprob.report.sheet import SheetTable, write_sheet
from sltprob.spec import whole

__all__ = ["Generalisation", "GeneralisationTable", "generalisation"]

type Array = NDArray[np.float64]

#: Below this effective number of draws of w nothing is said.
_LEAST_ESS = 50.0
#: So many times as many draws are made at most.
_LEAST_SHARE = 1.0 / 32.0


@dataclass(frozen=True, kw_only=True)
class Generalisation:
    """What n data teach one network, as means over data sets."""

    width: int
    size: int  # n
    num_datasets: int
    # Of `QUANTITIES`, by name
    means: dict[str, float]
    errors: dict[str, float]  # their standard errors
    # lambda-hat of the population loss at the scale n, and n dlambda-hat/dn
    lambda_hat: float
    lambda_hat_error: float
    slope: float
    population_free_energy: float  # of n times the population loss
    learning_coefficient: float  # the limit of lambda-hat
    # Of the data set with the smallest effective number of draws of w
    ess: float

    @property
    def predicted(self) -> float:
        """Lambda-hat less its slope: what n times the Bayes generalisation loss should be."""
        return self.lambda_hat - self.slope


@dataclass(frozen=True)
class _Pair:
    """One loss, and what lambda-hat says that it is."""

    label: str
    means: list[float]
    errors: list[float]  # twice the standard errors
    says: str
    values: list[float]


@dataclass(frozen=True)
class GeneralisationTable:
    """What data sets of several sizes teach one network."""

    rows: tuple[Generalisation, ...]

    def tables(self) -> list[SheetTable]:
        """Give losses beside lambda-hat, and what estimates them from the data."""
        losses = [
            [
                f"{row.size:,}",
                f"{row.means['bayes']:.3f}",
                f"{row.errors['bayes']:.3f}",
                f"{row.predicted:.3f}",
                f"{row.means['gibbs']:.3f}",
                f"{row.means['fluctuation']:.3f}",
                f"{row.lambda_hat:.3f}",
            ]
            for row in self.rows
        ]
        names = ("bayes", "training", "waic", "loo", "free_energy", "wbic")
        estimates = [
            [f"{row.size:,}", *(f"{row.means[name]:.3f}" for name in names)] for row in self.rows
        ]
        return [
            SheetTable(
                "Losses times n, relative to the truth",
                ("n", "Bayes", "±", "λ̂ − λ̂′", "Gibbs", "ν", "λ̂(n)"),
                losses,
            ),
            SheetTable(
                "What estimates them from the data",
                ("n", "Bayes", "training", "WAIC", "LOO", "F", "WBIC"),
                estimates,
            ),
        ]

    def sentences(self) -> list[str]:
        """Say in words what the rows hold."""
        last = self.rows[-1]
        bayes, limit = last.means["bayes"], last.learning_coefficient
        found = [
            f"With n = {last.size:,} data the Bayes generalisation loss is {bayes:.3f}/n; λ̂(n) "
            f"less its slope says {last.predicted:.3f}/n."
        ]
        if math.isfinite(limit):
            found.append(
                f"The learning coefficient, λ = {limit:.4g}, is {limit / bayes:.2g} times that."
            )
        return found

    def write(self, folder: Path) -> None:
        """Write the page, the picture and the table."""
        rows = [
            {"n": row.size, "lambda_hat": row.lambda_hat, "slope": row.slope}
            | row.means
            | {f"{name}_error": error for name, error in row.errors.items()}
            for row in self.rows
        ]
        write_csv(rows, folder / "generalisation.csv")
        write_svg(folder / "generalisation.svg", self._draw)
        write_sheet(
            folder / "generalisation.html",
            title=f"What n data teach a network of {self.rows[0].width} units",
            sentences=self.sentences(),
            figures=[self._figure()],
            tables=self.tables(),
            sources=SOURCES,
            command=typed(),
        )

    def _pairs(self) -> list[_Pair]:
        """Give what is measured beside what lambda-hat says of it."""

        def pair(name: str, label: str, says: str, values: list[float]) -> _Pair:
            means = [row.means[name] for row in self.rows]
            return _Pair(label, means, [2.0 * row.errors[name] for row in self.rows], says, values)

        rows = self.rows
        return [
            pair("bayes", "n × Bayes loss", "λ̂ − λ̂′", [row.predicted for row in rows]),
            pair(
                "gibbs",
                "n × Gibbs loss",
                "2λ̂ − λ̂′",
                [row.predicted + row.lambda_hat for row in rows],
            ),
            pair("fluctuation", "fluctuation ν", "λ̂", [row.lambda_hat for row in rows]),
        ]

    def _draw(self, axes: Any) -> None:
        sizes = [row.size for row in self.rows]
        styles = (("black", "o"), ("#0072B2", "s"), ("#009E73", "^"))
        for pair, (color, marker) in zip(self._pairs(), styles, strict=True):
            axes.errorbar(
                sizes,
                pair.means,
                yerr=pair.errors,
                fmt=marker,
                color=color,
                ms=5,
                label=pair.label,
            )
            axes.plot(sizes, pair.values, color=color, lw=1.0, label=pair.says)
        limit = self.rows[0].learning_coefficient
        if math.isfinite(limit):
            axes.axhline(limit, color="#D55E00", ls="--", lw=1.0)
            axes.text(sizes[0], limit, f"theorem: λ = {limit:.4g}", fontsize=8, va="bottom")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("number of data n")
        axes.set_ylabel("dimensionless")
        axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.2))

    def _figure(self) -> Figure:
        sizes = [row.size for row in self.rows]
        data = []
        for pair, color in zip(self._pairs(), ("@ink", "@series0", "@series2"), strict=True):
            data.append(
                line(
                    sizes,
                    pair.means,
                    name=pair.label,
                    color=color,
                    mode="markers",
                    marker={"size": 9, "color": color},
                    error_y={"type": "data", "array": pair.errors},
                )
            )
            data.append(line(sizes, pair.values, name=pair.says, color=color))
        limit = self.rows[0].learning_coefficient
        if math.isfinite(limit):
            ends = [sizes[0], sizes[-1]]
            name = f"theorem: λ = {limit:.4g}"
            data.append(line(ends, [limit] * 2, name=name, color="@series1", dash="dash"))
        return chart(
            "generalisation",
            "Losses and λ̂ against the number of data",
            "Points: means over data sets, relative to the truth, ± two standard errors. "
            "Lines: what λ̂ of the population loss at the scale n, and its slope λ̂′, say of them.",
            "losses times n against n, with lambda-hat",
            data,
            wide=True,
            hovermode="closest",
            height=460,
            xaxis=axis("number of data n", type="log", dtick=1, exponentformat="power"),
            yaxis=axis("dimensionless", rangemode="tozero"),
        )


def generalisation(
    model: TanhZero,
    sizes: Sequence[int],
    *,
    num_datasets: int = 100,
    num_draws: int = 1000,
    seed: int = 0,
    progress: Callable[[Generalisation], None] | None = None,
) -> GeneralisationTable:
    """Compute what data sets of these sizes teach the network.

    The standard errors are those over data sets, after two controls with a known mean of zero: the
    quadratic forms of y that the infinitely wide network would make of the same data.

    Notes
    -----
    With ``K = E f^2 / 2`` as the loss, lambda-hat(n) is `n E[K]` at the temperature 1/n: lambda-hat
    of `model` at ``beta = n / 2``, since its loss is ``E f^2``.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009),
       chapter 6.
    .. [2] S. Watanabe, "A widely applicable Bayesian information criterion", JMLR 14 (2013).
    .. [3] A. Vehtari, A. Gelman and J. Gabry, "Practical Bayesian model evaluation using
       leave-one-out cross-validation and WAIC", Statistics and Computing 27 (2017).
    """
    whole(3).read("num_datasets", num_datasets, 100)
    whole(100).read("num_draws", num_draws, 1000)
    results = []
    for size in sizes:
        whole(10).read("size", size, 1000)
        results.append(_one_size(model, size, num_datasets, num_draws, seed))
        if progress is not None:
            progress(results[-1])
    return GeneralisationTable(tuple(results))


def _one_size(
    model: TanhZero, size: int, num_datasets: int, num_draws: int, seed: int
) -> Generalisation:
    generator = np.random.default_rng([seed, model.width, size])
    basis = Basis.build(model, size)
    population, ess = _population(size, basis.draw_roots(model, 20 * num_draws, generator))
    # The posterior of few weights is narrow: as many draws as are worth those asked for.
    num_draws = math.ceil(num_draws / max(ess / (20 * num_draws), _LEAST_SHARE))
    rows, controls, smallest = [], [], math.inf
    for number in range(num_datasets):
        data = basis.draw(size, np.random.default_rng([seed, size, number]))
        # Other draws of w for every data set: their errors are then in those over data sets.
        roots = basis.draw_roots(model, num_draws, generator)
        values, ess = evaluate_dataset(basis, data, roots)
        rows.append([values[name] for name in QUANTITIES])
        controls.append(basis.controls(data))
        smallest = min(smallest, ess)
    means, errors = _controlled(np.array(rows), np.array(controls))
    if not smallest >= _LEAST_ESS:
        raise PrecisionError(
            f"With n={size} data {num_draws} draws of w are worth {smallest:.0f} for one data set, "
            f"but at least {_LEAST_ESS:g} are needed; write a larger num_draws (--draws)."
        )
    coefficient = model.truth().learning_coefficient
    return Generalisation(
        width=model.width,
        size=size,
        num_datasets=num_datasets,
        means=dict(zip(QUANTITIES, means.tolist(), strict=True)),
        errors=dict(zip(QUANTITIES, errors.tolist(), strict=True)),
        **population,
        learning_coefficient=math.nan if coefficient is None else float(coefficient),
        ess=smallest,
    )


def _population(size: int, roots: Array) -> tuple[dict[str, float], float]:
    """Compute what the population loss at the scale n says, and the effective number of draws."""
    singular = np.linalg.svd(roots, compute_uv=False)
    resolved = size * singular**2
    logs = -0.5 * np.log1p(resolved).sum(axis=1)
    free_energy = -log_mean_exp(logs)
    shares = np.exp(logs + free_energy) / len(logs)
    parts = resolved / (1.0 + resolved)
    lambdas = 0.5 * parts.sum(axis=1)
    lambda_hat = float(shares @ lambdas)
    error = math.sqrt(float(np.sum((shares * (lambdas - lambda_hat)) ** 2)))
    # The variance of n K is lambda-hat less its slope.
    variance = float(shares @ (0.5 * np.sum(parts**2, axis=1) + (lambdas - lambda_hat) ** 2))
    values = {
        "lambda_hat": lambda_hat,
        "lambda_hat_error": error,
        "slope": lambda_hat - variance,
        "population_free_energy": free_energy,
    }
    return values, 1.0 / float(shares @ shares)


def _controlled(values: Array, controls: Array) -> tuple[Array, Array]:
    """Average over data sets, less what controls of mean zero explain; give standard errors too.

    References
    ----------
    Owen, A. B. (2013). Monte Carlo theory, methods and examples, chapter 8.9.
    """
    design = np.column_stack([np.ones(len(values)), controls])
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    left = values - design @ solution
    freedom = len(values) - design.shape[1]
    spread = np.linalg.inv(design.T @ design)[0, 0]
    return solution[0], np.sqrt(spread * np.sum(left**2, axis=0) / freedom)
