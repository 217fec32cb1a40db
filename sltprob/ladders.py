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

from sltprob import draws as schema
from sltprob.free_energy_curve import Curve
from sltprob.notebook import table

if TYPE_CHECKING:
    from sltprob.estimation import LambdaHat

__all__ = [
    "EXACT_ON_RUNGS",
    "Ladder",
    "Rung",
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
