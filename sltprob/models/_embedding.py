"""Priors of embedding weights, written as text: ``uniform[1]`` or ``normal[0.5]``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro.distributions as dist

from sltprob.spec import split_outside_brackets

__all__ = ["EmbeddingPrior"]


@dataclass(frozen=True)
class EmbeddingPrior:
    """An independent prior of every embedding weight."""

    family: str  # ``"uniform"`` on (-scale, scale), or ``"normal"`` with standard deviation scale
    scale: float

    @classmethod
    def parse(cls, text: str) -> EmbeddingPrior:
        """Read ``uniform[bound]`` or ``normal[sd]``."""
        family, _, rest = text.strip().partition("[")
        arguments = split_outside_brackets(rest[:-1]) if rest.endswith("]") else []
        try:
            (scale,) = (float(argument) for argument in arguments)
        except ValueError:
            scale = math.nan
        if family not in ("uniform", "normal") or not 0 < scale < math.inf:
            raise ValueError(
                f"embedding_prior={text}: it must be uniform[bound] or normal[sd] with a "
                "positive number, for example uniform[1]"
            )
        return cls(family, scale)

    @property
    def distribution(self) -> Any:
        """The NumPyro distribution of one weight."""
        if self.family == "uniform":
            return dist.Uniform(-self.scale, self.scale)
        return dist.Normal(0.0, self.scale)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw weights."""
        if self.family == "uniform":
            return generator.uniform(-self.scale, self.scale, shape)
        return generator.normal(0.0, self.scale, shape)

    def log_prob(self, weights: np.ndarray) -> np.ndarray:
        """Evaluate the log density of each weight, -inf outside the support."""
        if self.family == "uniform":
            inside = np.abs(weights) <= self.scale
            return np.where(inside, -math.log(2 * self.scale), -np.inf)
        constant = -math.log(self.scale) - 0.5 * math.log(2 * math.pi)
        return constant - 0.5 * (weights / self.scale) ** 2

    def largest(self, count: int) -> float:
        """Bound the largest absolute value among `count` weights, but for one case in 1000."""
        if self.family == "uniform":
            return self.scale
        return self.scale * math.sqrt(2 * math.log(1000 * count))
