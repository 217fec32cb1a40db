"""The warm-up of a local run: the step size that puts the bias where it is wanted.

The step biases λ̂ by about C = (ε/4) E[g_L · ĝ], which a chain measures as it goes. So ε follows
ρ = C / λ̂ until that is at its target, and is then frozen; first, while the chains are on their way
out, a larger target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["StepRule", "bias_of_step"]

# ρ of a chain that was thrown out of the basin, if its |ĝ|² is so many times that at the center: it
# begins again with a smaller step. Where |ĝ|² is less, the chain has not come far yet.
_THROWN, _GROWN = 0.5, 2.0
# Times that a chain may come out with more than λ̂ of any basin, before that is taken for an answer.
_TOO_HIGH = 8
# By how much the step may change from one look to the next.
_SLOWER, _FASTER = 1 / 4, 2.0
# Steps that the geometric mean of the last looks takes out of the noise.
_LOOKS = 4
# ρ on the way out from the center, where a bias does no harm and a chain must come far: the stiff
# directions, which are biased, forget it within some steps of the size that is kept.
_HOT, _HOTTEST = 2.5, 0.2


def bias_of_step(stats: dict[str, np.ndarray], langevin_step: float) -> dict[str, np.ndarray]:
    """Estimate by how much the step and the noise of its gradient raise λ̂, draw by draw.

    Gives that as ``bias``; as ``grown`` the part of it that grows with the step; and of a
    thermostat, which makes all directions colder than the noise made some hotter, as ``cooled``
    what it takes from λ̂.

    The stationarity of |u|² and, with momentum, of u·p and |p|² under the sampler's own steps
    gives h Var(u) - 1 of a mode of curvature h. For SGLD that is (ε/2) E ĝ²; for SGHMC and SGNHT
    (α/ξ - 1) + (ε/2ξ) E ĝ² - E[p ĝ]/ξ. Half of it, where the loss holds the mode, is the bias.

    Parameters
    ----------
    stats : dict of str to array, shape (chain, draw)
    langevin_step : float
    """
    with np.errstate(all="ignore"):
        if "momentum_loss_slope" not in stats:
            bias = langevin_step / 4 * stats["loss_square"]
            return {"bias": bias, "grown": bias}
        friction, now = stats["friction_parameter"], stats["friction"]
        size = langevin_step * friction
        grown = size / (4 * now) * stats["loss_square"] - stats["momentum_loss_slope"] / (2 * now)
        cooling = friction / now
        # λ̂ = cooling λ + grown, solved for λ.
        bias = (grown + (cooling - 1) * stats["scaled_loss"]) / cooling
        if np.all(cooling == 1):
            return {"bias": bias, "grown": grown}
        cooled = (1 - 1 / cooling) * stats["scaled_loss"]
        return {"bias": bias, "grown": grown, "cooled": cooled}


@dataclass
class StepRule:
    """The step size as it is found, look by look."""

    step: float
    target: float
    dimension: int
    noise: float = 0.0  # E|ĝ|² of the loss at the center

    def __post_init__(self) -> None:
        self.looks: list[float] = []
        self.most = math.inf
        self.too_high = 0
        self.wanted = max(self.target, min(_HOT * self.target, _HOTTEST))

    def look(self, raw: np.ndarray, bias: np.ndarray, square: np.ndarray, hot: bool) -> bool:
        """Take in the last draws, shape (chain, draw); say whether the chains must begin again.

        Chains that begin far out are not thrown out: they are on their way in.
        """
        middle = raw.shape[1] // 2
        with np.errstate(all="ignore"):
            early, late = float(np.mean(raw[:, :middle])), float(np.mean(raw[:, middle:]))
            # λ̂ of a chain that still spreads is on its way up.
            settled = max(late, late + (late - early))
            rho = float(np.mean(bias[:, middle:])) / settled if settled > 0 else math.inf
            grown = float(np.mean(square[:, middle:])) > _GROWN * self.noise
        if not math.isfinite(float(np.mean(bias))) or not math.isfinite(settled):
            return self._again(1 / 10)
        if settled > self.dimension and self.too_high < _TOO_HIGH and not hot:
            # Where the loss rises as in a basin, λ̂ is less; beyond one, ρ says nothing.
            self.too_high += 1
            return self._again(_SLOWER)
        # Where a momentum goes with the gradient, what is measured may be below 0.
        thrown = grown and abs(rho) > _THROWN
        factor = self.wanted / abs(rho) if thrown or rho > 0 else _FASTER
        factor = min(max(factor, _SLOWER), _FASTER)
        if thrown and not hot:
            return self._again(factor)
        self.step = min(self.step * factor, self.most)
        self.looks.append(math.log(self.step))
        return False

    def _again(self, factor: float) -> bool:
        """Make the step smaller, and never again as large as the one that threw the chains out."""
        self.most = min(self.most, self.step / 2)
        self.step *= factor
        self.looks.clear()
        return True

    def cool(self) -> None:
        """Go on with the step that is about right for what is measured."""
        self.settle()
        self.step *= self.target / self.wanted
        self.wanted = self.target
        self.looks.clear()

    def settle(self) -> float:
        """Give the step that is kept."""
        recent = self.looks[-_LOOKS:]
        if recent:
            self.step = math.exp(sum(recent) / len(recent))
        return self.step


def first_step(noise: float, dimension: int, gamma: float, target: float) -> float:
    """Give a step to begin with: λ̂ <= d/2, and the noise of the gradient at the center is known."""
    candidates = [1 / gamma if gamma > 0 else 1.0]
    if noise > 0 and math.isfinite(noise):
        candidates.append(2 * target * dimension / noise)
    return min(candidates)
