"""Every coordinate of the mean gradient must vanish: E[∇U] = 0, U = -log p."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import numpy as np

from sltprob.array_statistics import array_stats
from sltprob.diagnostics import Check
from sltprob.diagnostics.base import STEIN
from sltprob.posterior import TemperedPosterior
from sltprob.probes.rerun import StoredRun
from sltprob.probes.significance import FALSE_ALARM_RATE, normal_limit, standard_errors

__all__ = ["gradient_checks", "gradients_at_draws", "reason_against"]

# Draws whose gradients are computed in one vectorised call.
_BATCH = 64


def reason_against(stored: StoredRun) -> str | None:
    """Say why the gradients at the draws of a run cannot be computed, if they cannot."""
    if stored.values(slice(0)) is None:
        return "the run keeps no positions (keep='loss')"
    return None


def gradients_at_draws(stored: StoredRun) -> dict[str, np.ndarray]:
    """Compute ∇U on all data at every stored draw, in unconstrained coordinates."""
    values = stored.values(slice(None))
    assert values is not None
    chains, draws = next(iter(values.values())).shape[:2]
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}
    gradients = _gradients(stored.posterior, flat)
    return {name: np.asarray(g).reshape(chains, draws, -1) for name, g in gradients.items()}


@jax.jit
def _gradients(posterior: TemperedPosterior, values: Any) -> Any:
    def one(values: Any) -> Any:
        gradient = jax.grad(posterior.logdensity)(posterior.unconstrain(values))
        return jax.tree.map(lambda leaf: -leaf, gradient)

    return jax.lax.map(one, values, batch_size=_BATCH)


def gradient_checks(gradients: dict[str, np.ndarray]) -> list[Check]:
    """Test that no coordinate of the mean gradient differs from zero."""
    axes = {"chain_axis": 0, "draw_axis": 1}
    worst, where = -np.inf, "none"
    for site, values in gradients.items():
        # ArviZ calls a coordinate that stands still perfect, and lets infinities pass.
        alive = np.all(np.isfinite(values), axis=(0, 1)) & np.all(
            np.ptp(values, axis=1) > 0, axis=0
        )
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            enough = values.shape[1] >= 4
            error = array_stats.mcse(values, method="mean", **axes) if enough else np.nan
            ess = array_stats.ess(values, method="mean", **axes) if enough else np.nan
            z = np.where(alive, standard_errors(values.mean(axis=(0, 1)), (error, ess)), np.nan)
        # The first that cannot be computed is the worst.
        index = int(np.argmax(np.where(np.isnan(z), np.inf, z)))
        if np.isnan(z[index]) or z[index] > worst:
            worst, where = float(z[index]), f"{site}[{index}]" if z.size > 1 else site
        if np.isnan(worst):
            break
    limit = normal_limit(sum(values.shape[2] for values in gradients.values()))
    return [
        Check(
            "coordinate_gradients",
            worst,
            limit,
            "<",
            bool(worst < limit),
            True,
            f"standard errors between the mean gradient and zero, largest coordinate ({where})",
            "The draws are off centre in that coordinate: run longer, take a smaller step, or an "
            "adjusted sampler such as hmc.",
            STEIN,
            FALSE_ALARM_RATE,
        )
    ]
