"""Runs with their verdicts, in the order in which a report tells them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sltprob.cell import name_of_truth, summarise
from sltprob.diagnostics import Verdict, diagnose
from sltprob.diagnostics.checks import Run
from sltprob.estimation import estimate
from sltprob.exact import Exact
from sltprob.report.numbers import inverse_temperature, measured, number

__all__ = ["CONTRADICTION", "Judged", "judge", "quiet"]

#: Standard errors from the exact value at which a measurement contradicts it, if it is also off
#: by more than `RELEVANT`: what no trusted run may do.
CONTRADICTION = 4.0
#: Relative difference below which a contradiction is of no consequence.
RELEVANT = 0.05


@contextmanager
def quiet() -> Iterator[None]:
    """Compute on broken runs without warnings: what is NaN is shown as such."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@dataclass(frozen=True)
class Judged:
    """A run with what was found out about it."""

    number: int  # its place in the report, from 1
    draws: xr.DataTree
    run: Run  # what the checks read of it
    verdict: Verdict
    # Of `sltprob.cell.summarise`, with the exact value of the curve if the run has none
    cell: Mapping[str, Any]
    name: str  # Sampler, with the seed if the report has several

    @property
    def contradicted(self) -> bool:
        """Whether the value is too far from the exact one."""
        value, exact, z = self.cell["lambda_hat"], self.cell["exact"], self.cell["z"]
        if z is None:
            return False
        return bool(abs(z) >= CONTRADICTION and abs(value - exact) > RELEVANT * abs(exact))

    @property
    def believable(self) -> bool:
        """Whether the checks trust the run, and the exact value, if known, does not object."""
        has_value = self.cell["lambda_hat"] is not None
        return self.verdict.trusted and has_value and not self.contradicted

    @property
    def status(self) -> str:
        """The verdict in one word.

        ``"contradicted"`` for a trusted run that the exact value refutes, ``"incomplete"`` for
        one that has no λ̂.
        """
        if not self.verdict.trusted or self.believable:
            return self.verdict.words
        return "contradicted" if self.contradicted else "incomplete"

    @property
    def value(self) -> str:
        """Lambda-hat with its error, for people."""
        return measured(self.cell["lambda_hat"], self.cell["mcse"]).text()

    @property
    def averaged(self) -> str:
        """Lambda-hat averaged over the readout, where the run can tell; else empty."""
        if "energy_excess" not in self.run.stats or self.cell["lambda_hat"] is None:
            return ""
        found = estimate(self.draws, rao_blackwell=True)
        return measured(found.value, found.mcse).text()

    @property
    def interval(self) -> str:
        """Where λ̂ lies, of a run whose step leaves more open than its draws; else empty."""
        if self.cell["lambda_hat"] is None or not self.run.number("unadjusted"):
            return ""
        found = estimate(self.draws)
        if not (self.run.is_local or found.error > 1.15 * found.mcse):
            return ""
        return f"{number(found.low, 4)} to {number(found.high, 4)}"

    @property
    def beta(self) -> str:
        """The inverse temperature, for people."""
        return inverse_temperature(self.cell["beta"])

    @property
    def reason(self) -> str:
        """One sentence: why the verdict is what it is."""
        checks = len(self.verdict.checks)
        if self.verdict.trusted:
            if self.contradicted:
                return (
                    f"all {checks} checks passed, and yet the {self.truth} is "
                    f"{abs(self.cell['z']):.1f} standard errors away: the checks were deceived"
                )
            if self.cell["lambda_hat"] is None:
                return f"all {checks} checks passed, but L* is unknown, so there is no λ̂"
            return self.verdict.reason
        return self.verdict.failed[0].finding

    def warmup(self, name: str) -> np.ndarray | None:
        """Give a variable of the warm-up."""
        if "warmup_sample_stats" not in self.draws.children:
            return None
        group = self.draws["warmup_sample_stats"]
        if name not in group or group[name].ndim != 2 or not group[name].size:
            return None
        return np.asarray(group[name].values, dtype=float)

    @property
    def truth(self) -> str:
        """What λ̂ is compared with: the exact value, or a reference that was sampled."""
        return "reference" if name_of_truth([self.cell]) == "reference" else "exact value"

    @property
    def distance(self) -> str:
        """How far the value is from the exact one, in words; empty where that is not known."""
        z = self.cell["z"]
        if z is None:
            return ""
        return f"{abs(z):.1f} standard errors {'above' if z > 0 else 'below'} the {self.truth}"

    @property
    def further(self) -> str:
        """How many other checks failed, in words; empty if none did."""
        others = len(self.verdict.failed) - 1
        return f"{others} other check{'s' * (others > 1)} failed" if others > 0 else ""


def judge(
    runs: Sequence[xr.DataTree], curves: Mapping[str, Sequence[Exact]] | None = None
) -> list[Judged]:
    """Judge runs, and sort them by model, beta, sampler and seed."""
    judged = []
    for draws in runs:
        with quiet():
            verdict = diagnose(draws)
            cell = _with_exact(summarise(draws, verdict), curves or {})
            judged.append((draws, Run.of(draws), verdict, cell))
    judged.sort(key=lambda item: [item[3][key] for key in ("model", "beta", "sampler", "seed")])
    several_seeds = len({item[3]["seed"] for item in judged}) > 1
    return [
        Judged(
            position,
            draws,
            run,
            verdict,
            cell,
            f"{cell['sampler']}, seed {cell['seed']}" if several_seeds else cell["sampler"],
        )
        for position, (draws, run, verdict, cell) in enumerate(judged, start=1)
    ]


def _with_exact(cell: dict[str, Any], curves: Mapping[str, Sequence[Exact]]) -> dict[str, Any]:
    if cell["exact"] is not None:
        return cell
    for exact in curves.get(cell["model"], ()):
        if math.isclose(exact.beta, cell["beta"], rel_tol=1e-9):
            cell |= {
                "exact": exact.lambda_hat,
                "exact_mcse": exact.mcse,
                "exact_method": exact.method,
            }
            if cell["lambda_hat"] is not None:
                error = math.hypot(cell["mcse"] or 0.0, exact.mcse)
                if error > 0:
                    cell["z"] = (cell["lambda_hat"] - exact.lambda_hat) / error
            break
    return cell
