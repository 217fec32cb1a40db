"""A regular model: a quadratic loss, whose curvatures are options."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models._potential import HalfSquaredError
from sltprob.models.base import Model, Truth
from sltprob.spec import positive, read_numbers, whole, write_numbers

__all__ = ["Regular"]


@dataclass(frozen=True, kw_only=True)
class Regular(Model):
    """A quadratic loss L = ½ Σ h_j w_j² with prior w_j ~ N(0, prior_scale²).

    λ̂ counts the coordinates whose curvature is resolved, β h_j > 1: with a wide spectrum it
    climbs to λ = d/2 step by step.

    Parameters
    ----------
    dimension : int
        Number d of parameters; the length of the spectrum if that is a list.
    spectrum : str
        Curvatures h_j: ``ones``; ``powers[10]`` for 10^-j, j = 0 … d-1; or a list ``1:0.1:10``.
    prior_scale : float, dimensionless
        Prior standard deviation of each w_j.

    References
    ----------
    .. [1] G. Schwarz, "Estimating the dimension of a model", Annals of Statistics 6 (1978).
    .. [2] Z. Chen, D. Murfet, "Modes of sequence models and learning coefficients",
       arXiv 2504.18048 (2025), for the spectrum as a dial of resolution.
    """

    dimension: Annotated[int, whole(1)] = 10
    spectrum: str = "ones"
    prior_scale: Annotated[float, positive()] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        text = self.spectrum
        if isinstance(text, str) and (text == "ones" or text.startswith("powers[")):
            curvatures = self._curvatures
        else:
            numbers = read_numbers("spectrum", text, "1:0.1:10, ones or powers[10]")
            object.__setattr__(self, "spectrum", write_numbers(numbers))
            # A list says how long it is; only a dimension that was asked for can contradict it.
            if self.dimension not in (len(numbers), type(self).dimension):
                raise ValueError(
                    f"dimension={self.dimension}: the spectrum {self.spectrum} has "
                    f"{len(numbers)} curvatures; leave dimension out, or give that number"
                )
            object.__setattr__(self, "dimension", len(numbers))
            curvatures = np.asarray(numbers)
        if not np.all((curvatures > 0) & np.isfinite(curvatures)):
            raise ValueError(
                f"spectrum={self.spectrum}: all curvatures must be positive and finite, such as "
                "1:0.1:10"
            )

    @property
    def _curvatures(self) -> np.ndarray:
        if self.spectrum == "ones":
            return np.ones(self.dimension)
        if self.spectrum.startswith("powers["):
            inside = self.spectrum.removeprefix("powers[").removesuffix("]")
            (ratio, *rest) = read_numbers("spectrum", inside, "powers[10]")
            if rest or ratio <= 0:
                raise ValueError(
                    f"spectrum={self.spectrum}: it takes one positive number, such as powers[10]"
                )
            return ratio ** -np.arange(self.dimension, dtype=float)
        return np.asarray(read_numbers("spectrum", self.spectrum, "1:0.1:10"))

    def program(self, y: Any = None) -> None:  # type: ignore[override]
        """Run the NumPyro program."""
        prior = dist.Normal(0.0, self.prior_scale).expand((self.dimension,)).to_event(1)
        w = numpyro.sample("w", prior)
        scaled = (jnp.asarray(np.sqrt(self._curvatures)) * w).reshape(1, -1)
        rows = 1 if y is None else y.shape[0]
        numpyro.sample("y", HalfSquaredError(jnp.broadcast_to(scaled, (rows, w.size))), obs=y)

    def population(self) -> Data:
        """Give the one datum y = 0."""
        return Data({"y": np.zeros((1, self.dimension))}, np.ones(1))

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw y ~ N(0, 1) in every coordinate, the noise that the loss stands for."""
        return {"y": generator.standard_normal((n, self.dimension))}

    def optimum(self) -> dict[str, Any]:
        """Give w = 0."""
        return {"w": np.zeros(self.dimension)}

    def truth(self) -> Truth:
        """State λ = d/2, m = 1."""
        return Truth(Fraction(self.dimension, 2), 1, "Laplace's method; Schwarz 1978")

    def _exact(self, beta: float, tolerance: float) -> Exact:
        """Compute λ̂ = ½ Σ t_j/(1 + t_j) and F = ½ Σ log(1 + t_j), t_j = β h_j prior_scale²."""
        return self._gaussian(beta, np.zeros(self.dimension), 0.0)

    def _exact_on_data(self, beta: float) -> Exact:
        """Compute the same for a Gaussian around a shifted mean.

        On data with mean ȳ, λ̂, which takes the loss at w = 0 as L*, gets the term
        -½ β Σ ȳ_j² s_j (2 - s_j) with s_j = t_j/(1 + t_j).
        """
        y = np.asarray(self.data().arguments["y"])
        noise = float(np.mean(np.sum(y**2, axis=1))) / 2
        return self._gaussian(beta, np.mean(y, axis=0) ** 2, noise)

    def _gaussian(self, beta: float, squares: np.ndarray, noise: float) -> Exact:
        t = beta * self._curvatures * self.prior_scale**2
        rounding = float(np.finfo(float).eps) * self.dimension
        shrink = t / (1 + t)
        return Exact(
            beta=beta,
            lambda_hat=float(np.sum(shrink - beta * squares * shrink * (2 - shrink)) / 2),
            mcse=rounding,
            free_energy=float(np.sum(np.log1p(t) - beta * squares * shrink) / 2) + beta * noise,
            free_energy_mcse=rounding * 10,
            method="closed form of a Gaussian integral",
        )
