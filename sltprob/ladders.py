"""The whole curve from one run: lambda-hat and the free energy on every rung of a ladder.

It needs the draws of the loss on every rung, which samplers of a ladder record, and no JAX.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from sltprob import draws as schema
from sltprob.array_statistics import array_stats
from sltprob.notebook import table

if TYPE_CHECKING:
    from sltprob.estimation import LambdaHat

__all__ = [
    "EXACT_ON_RUNGS",
    "Curve",
    "Ladder",
    "Rung",
    "difference",
    "has_ladder",
    "ladder",
    "rung",
    "rung_rows",
]

#: What is known exactly on a rung.
EXACT_ON_RUNGS = ("lambda_hat", "mcse", "free_energy", "free_energy_mcse")


@dataclass(frozen=True)
class Rung:
    """What a run says at one inverse temperature.

    Parameters
    ----------
    beta : float, dimensionless
    lambda_hat : LambdaHat
    free_energy : float, nats
        ``F = -log(Z(beta) / Z(0))`` with Z the mean of exp(-β L) over the prior; by populations
        where the sampler has them, else by the acceptance ratios of all pairs of neighbours.
    free_energy_mcse : float, nats
    integrated : float, nats
        The free energy by thermodynamic integration of the mean loss over β.
    integrated_error : float, nats
        Its Monte Carlo error, together with what the rule of integration leaves open.
    """

    beta: float
    lambda_hat: LambdaHat
    free_energy: float
    free_energy_mcse: float
    integrated: float
    integrated_error: float


@dataclass(frozen=True)
class Ladder:
    """The curve of lambda-hat and the free energy that one run measured.

    Parameters
    ----------
    rungs : tuple of Rung
        In order of beta, without the prior; the last one is the target.
    """

    rungs: tuple[Rung, ...]

    @property
    def betas(self) -> tuple[float, ...]:
        """Inverse temperatures of the rungs."""
        return tuple(rung.beta for rung in self.rungs)

    def __str__(self) -> str:
        return "\n".join(
            f"{rung.lambda_hat}, F = {rung.free_energy:.4g} ± {rung.free_energy_mcse:.2g}"
            for rung in self.rungs
        )

    def _repr_html_(self) -> str:
        """Show the ladder in a notebook."""
        parts = [str(rung.lambda_hat).partition(" = ") for rung in self.rungs]
        energies = [f"{rung.free_energy:.4g} ± {rung.free_energy_mcse:.2g}" for rung in self.rungs]
        betas = [f"{beta:.4g}" for beta in self.betas]
        rows = zip(betas, (part[2] for part in parts), energies, strict=True)
        return table(("β", "λ̂ ± MCSE", "F ± MCSE, nats"), rows, words=0)


@dataclass(frozen=True)
class Curve:
    """The free energy at every inverse temperature of a ladder, the hottest included.

    Parameters
    ----------
    free_energy, free_energy_mcse : array, shape (rung,)
        By populations where there are any, else bridged.
    bridged, bridged_mcse : array, shape (rung,)
        By acceptance ratios.
    integrated, integrated_error : array, shape (rung,)
        By integration of the mean loss.
    num_populations : int
        0 where the sampler has none.
    log_evidence_spread : float
        Standard deviation of the log evidence of a population at the target.
    """

    free_energy: np.ndarray
    free_energy_mcse: np.ndarray
    bridged: np.ndarray
    bridged_mcse: np.ndarray
    integrated: np.ndarray
    integrated_error: np.ndarray
    num_populations: int
    log_evidence_spread: float

    @classmethod
    def of(cls, betas: np.ndarray, losses: np.ndarray, log_evidence: np.ndarray | None) -> Curve:
        """Compute the curve.

        Parameters
        ----------
        betas : array, shape (rung,)
        losses : array, shape (chain, draw, rung)
        log_evidence : array, shape (chain, draw, rung), or None
            Of the population that a draw belongs to.

        Returns
        -------
        Curve
        """
        bridged, integrated = _bridge(betas, losses), _integrate(betas, losses)
        if log_evidence is None:
            return cls(*bridged, *bridged, *integrated, 0, math.nan)
        populations = np.concatenate([_distinct(chain) for chain in log_evidence])
        count = len(populations)
        spread = float(np.std(populations[:, -1], ddof=1)) if count > 1 else math.nan
        return cls(*_average(populations), *bridged, *integrated, count, spread)


def has_ladder(draws: xr.DataTree) -> bool:
    """Say whether a run has the draws of a whole ladder.

    Parameters
    ----------
    draws : xarray.DataTree

    Returns
    -------
    bool
    """
    return "ladder_loss" in draws["sample_stats"]


def ladder(draws: xr.DataTree, *, minimum_loss: float | None = None) -> Ladder:
    """Estimate lambda-hat and the free energy on every rung of a run.

    The difference of free energy between neighbours is that of Bennett's acceptance ratio, which
    uses the draws of both with least variance. Its error, and that of every sum of differences, is
    that of a mean over draws: the draws of all rungs are linearised about the solution and
    added up draw by draw, so that what correlates along a chain and across rungs is counted.

    Parameters
    ----------
    draws : xarray.DataTree
        Of a sampler of a ladder, such as ``replica_exchange`` or ``tempered_smc``.
    minimum_loss : float, optional
        L*, by default what the run knows.

    Returns
    -------
    Ladder

    Raises
    ------
    ValueError
        If the run has no ladder, or L* is not known.
    TypeError
        If the draws are no DataTree.

    References
    ----------
    .. [1] C. H. Bennett, "Efficient estimation of free energy differences from Monte Carlo data",
       Journal of Computational Physics 22 (1976) 245-268.
    .. [2] M. R. Shirts, J. D. Chodera, "Statistically optimal analysis of samples from multiple
       equilibrium states", Journal of Chemical Physics 129 (2008) 124105.
    .. [3] N. Friel, M. Hurn, J. Wyse, "Improving power posterior estimation of statistical
       evidence", Statistics and Computing 24 (2014) 709-723 (integration with the variances).
    """
    # Here, since what judges a run reads ladders, and an estimate reads what judges.
    from sltprob.estimation import estimate

    betas, losses = _read(draws)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        stats = draws["sample_stats"].to_dataset()
        known = "ladder_log_evidence" in stats
        curve = Curve.of(betas, losses, stats["ladder_log_evidence"].values if known else None)
    rungs = [
        Rung(
            float(betas[index]),
            estimate(_rung(draws, betas, losses, index), minimum_loss=minimum_loss),
            float(curve.free_energy[index]),
            float(curve.free_energy_mcse[index]),
            float(curve.integrated[index]),
            float(curve.integrated_error[index]),
        )
        for index in range(1, len(betas))
    ]
    return Ladder(tuple(rungs))


def rung(draws: xr.DataTree, beta: float) -> xr.DataTree:
    """Give the run of one rung: an ordinary run that `sltprob.estimate` takes.

    Parameters
    ----------
    draws : xarray.DataTree
        Of a sampler of a ladder.
    beta : float, dimensionless
        That of a rung.

    Returns
    -------
    xarray.DataTree
        With the loss and the gradients; what is only known at the target is left out.

    Raises
    ------
    ValueError
        If the run has no ladder, or none of its rungs is at that beta.
    TypeError
        If the draws are no DataTree.
    """
    betas, losses = _read(draws)
    index = int(np.argmin(np.abs(betas - beta)))
    if index == 0 or not math.isclose(betas[index], beta, rel_tol=1e-6):
        known = ", ".join(f"{value:g}" for value in betas[1:])
        raise ValueError(f"beta={beta}: it must be that of a rung: {known}")
    return _rung(draws, betas, losses, index)


def _read(draws: xr.DataTree) -> tuple[np.ndarray, np.ndarray]:
    schema.check(draws)
    if not has_ladder(draws):
        raise ValueError(
            f"a run of {draws.attrs['sampler']} has one temperature only; take a sampler of a "
            "whole ladder, such as sample(posterior, 'replica_exchange')"
        )
    losses = draws["sample_stats"]["ladder_loss"]
    if losses.dims != ("chain", "draw", "beta") or "beta" not in losses.coords:
        raise ValueError(
            f"ladder_loss has the dimensions {losses.dims}; it must have (chain, draw, beta), "
            "with the inverse temperatures as coordinate"
        )
    betas = np.asarray(losses["beta"].values, dtype=float)
    if len(betas) < 2 or not np.all(np.diff(betas) > 0) or not betas[0] >= 0:
        raise ValueError(
            f"the inverse temperatures of the ladder are {betas.tolist()}; they must ascend from "
            "0 or more"
        )
    return betas, np.asarray(losses.values, dtype=float)


def _rung(draws: xr.DataTree, betas: np.ndarray, losses: np.ndarray, index: int) -> xr.DataTree:
    stats = draws["sample_stats"].to_dataset()
    kept = {"loss": (("chain", "draw"), losses[:, :, index])}
    if "num_gradients" in stats:
        kept["num_gradients"] = (("chain", "draw"), stats["num_gradients"].values)
    coordinates = {name: stats[name].values for name in ("chain", "draw") if name in stats.coords}
    tree = xr.DataTree.from_dict({"sample_stats": xr.Dataset(kept, coords=coordinates)})
    tree.attrs = {**draws.attrs, "beta": float(betas[index])}
    return tree


def _mcse(values: np.ndarray) -> float:
    """Give the Monte Carlo standard error of a mean, NaN where it does not exist."""
    if values.shape[1] < 4 or not np.all(np.isfinite(values)):
        return math.nan
    if not np.all(np.ptp(values, axis=1) > 0):
        return math.nan
    return float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean"))


def difference(step: float, hot: np.ndarray, cold: np.ndarray) -> tuple[float, np.ndarray]:
    """Estimate the difference of free energy between two rungs, and its error by draw.

    Parameters
    ----------
    step : float
        Difference of the inverse temperatures.
    hot, cold : array, shape (chain, draw)
        Losses.

    Returns
    -------
    difference : float, nats
        NaN where it does not exist.
    influence : array, shape (chain, draw)
        Of mean zero; the error of its mean is that of the difference.

    References
    ----------
    .. [1] C. H. Bennett, "Efficient estimation of free energy differences from Monte Carlo data",
       Journal of Computational Physics 22 (1976) 245-268.
    """
    undefined = math.nan, np.full(hot.shape, math.nan)
    if not (hot.size and np.all(np.isfinite(hot)) and np.all(np.isfinite(cold))):
        return undefined

    def imbalance(value: float) -> float:
        return float(np.mean(expit(value - step * hot)) - np.mean(expit(step * cold - value)))

    low = step * float(min(hot.min(), cold.min())) - 50
    high = step * float(max(hot.max(), cold.max())) + 50
    if not imbalance(low) < 0 < imbalance(high):
        return undefined
    value = float(brentq(imbalance, low, high, xtol=1e-10))
    from_hot, from_cold = expit(value - step * hot), expit(step * cold - value)
    slope = np.mean(from_hot * (1 - from_hot)) + np.mean(from_cold * (1 - from_cold))
    return value, (from_cold - from_hot) / slope


def _bridge(betas: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up the differences of free energy, with their errors."""
    total, influence = 0.0, np.zeros(losses.shape[:2])
    values, errors = [0.0], [0.0]
    for index, step in enumerate(np.diff(betas)):
        value, part = difference(float(step), losses[:, :, index], losses[:, :, index + 1])
        total, influence = total + value, influence + part
        values.append(total)
        errors.append(_mcse(influence))
    return np.array(values), np.array(errors)


def _integrate(betas: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integrate the mean loss by the trapezium rule, corrected by the variances.

    The derivative of the mean loss is minus its variance, so the rule is known to fourth order;
    the correction itself bounds what it leaves open.
    """
    steps = np.diff(betas)
    means, variances = losses.mean(axis=(0, 1)), losses.var(axis=(0, 1))
    corrections = steps**2 / 12 * np.diff(variances)
    parts = steps / 2 * (means[:-1] + means[1:]) + corrections
    values = np.concatenate([[0.0], np.cumsum(parts)])
    open_ = np.concatenate([[0.0], np.cumsum(np.abs(corrections))])
    weights = np.zeros(len(betas))
    errors = [0.0]
    for index, step in enumerate(steps):
        weights[index] += step / 2
        weights[index + 1] += step / 2
        errors.append(_mcse(losses @ weights))
    return values, np.hypot(errors, open_)


def _average(populations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average the evidence over independent populations, shape (population, rung)."""
    count = len(populations)
    mean = logsumexp(populations, axis=0) - np.log(count)
    relative = np.exp(populations - mean)
    spread = np.std(relative, axis=0, ddof=1) if count > 1 else np.full(mean.shape, math.nan)
    return -mean, spread / math.sqrt(count)


def _distinct(log_evidence: np.ndarray) -> np.ndarray:
    """Give each population of a chain once, shape (population, rung)."""
    if not len(log_evidence):
        return log_evidence
    changed = np.any(np.diff(log_evidence, axis=0) != 0, axis=1)
    rows: np.ndarray = log_evidence[np.concatenate([[True], changed])]
    return rows


def rung_rows(run: xr.DataTree) -> list[dict[str, float | None]]:
    """Put the exact values beside the estimates, one row for each rung."""
    constants = run["constant_data"].to_dataset() if "constant_data" in run.children else {}
    rows = []
    for rung in ladder(run).rungs:
        row: dict[str, float] = {
            "beta": rung.beta,
            "lambda_hat": rung.lambda_hat.value,
            "mcse": rung.lambda_hat.mcse,
            "ess": rung.lambda_hat.ess,
            "free_energy": rung.free_energy,
            "free_energy_mcse": rung.free_energy_mcse,
            "integrated": rung.integrated,
            "integrated_error": rung.integrated_error,
        }
        exact = dict.fromkeys(EXACT_ON_RUNGS, math.nan)
        for name in EXACT_ON_RUNGS:
            if f"ladder_exact_{name}" in constants:
                exact[name] = float(constants[f"ladder_exact_{name}"].sel(beta=rung.beta))
        row |= {f"exact_{name}": value for name, value in exact.items()}
        for name, error in (("lambda_hat", "mcse"), ("free_energy", "free_energy_mcse")):
            total = math.hypot(row[error], exact[error])
            row[f"z_{name}"] = (row[name] - exact[name]) / total if total > 0 else math.nan
        rows.append({key: None if math.isnan(value) else value for key, value in row.items()})
    return rows
