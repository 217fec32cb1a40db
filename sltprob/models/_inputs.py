"""Input distributions of networks: quadrature rules that choose their nodes, and fresh draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from sltprob.models._modular import residue_pairs
from sltprob.spec import split_outside_brackets

__all__ = ["InputRule", "Inputs"]

_MAX_NODES = 8192
_NUM_SCRAMBLES = 8


@dataclass(frozen=True)
class InputRule:
    """Nodes and weights on the input space."""

    nodes: np.ndarray  # shape (n,) or (n, d)
    weights: np.ndarray  # shape (n,): They sum to one
    error: float  # Relative error of the loss at prior draws
    name: str


@dataclass(frozen=True)
class Inputs:
    """An input distribution."""

    # ``"gaussian"`` N(0,1); ``"circle"``, uniform on the unit circle of the plane; ``"cube"``,
    # uniform on [-1, 1]^dimension; ``"modular"``, all pairs of residues, as cosines and sines
    family: str
    dimension: int  # 0 stands for scalar inputs, which have no axis of their own
    residues: int = 0

    @classmethod
    def parse(cls, text: str) -> Inputs:
        """Read ``gaussian``, ``circle``, ``cube[d]`` or ``modular[p]``."""
        family, _, rest = text.strip().partition("[")
        arguments = split_outside_brackets(rest[:-1]) if rest.endswith("]") else []
        if family == "gaussian" and not rest:
            return cls(family, 0)
        if family == "circle" and not rest:
            return cls(family, 2)
        number = int(arguments[0]) if len(arguments) == 1 and arguments[0].isdigit() else 0
        if family == "cube" and number >= 1:
            return cls(family, number)
        if family == "modular" and number >= 3 and number % 2 == 1:
            return cls(family, 4, number)
        raise ValueError(
            f"inputs={text}: they must be gaussian, circle, cube[d] as in cube[2], or modular[p] "
            "with an odd p, as in modular[5]"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (self.dimension,) if self.dimension else ()

    def draw(self, rng_key: Any, count: int) -> Any:
        """Draw fresh inputs."""
        if self.family == "gaussian":
            return jax.random.normal(rng_key, (count,))
        if self.family == "circle":
            angles = jax.random.uniform(rng_key, (count,), maxval=2 * math.pi)
            return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
        if self.family == "modular":
            chosen = jax.random.randint(rng_key, (count,), 0, self.residues**2)
            return jnp.asarray(residue_pairs(self.residues))[chosen]
        return jax.random.uniform(rng_key, (count, self.dimension), minval=-1.0)

    def draw_numpy(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Draw a data set's inputs."""
        if self.family == "gaussian":
            return generator.normal(size=count)
        if self.family == "circle":
            angles = generator.uniform(0, 2 * math.pi, count)
            return np.stack([np.cos(angles), np.sin(angles)], axis=1)
        if self.family == "modular":
            return residue_pairs(self.residues)[generator.integers(self.residues**2, size=count)]
        return generator.uniform(-1, 1, (count, self.dimension))

    def choose_rule(
        self,
        mean_losses: Callable[[np.ndarray, np.ndarray], np.ndarray],
        accuracy: float,
        *,
        even: bool,
        smooth: bool,
    ) -> InputRule:
        """Choose the fewest nodes whose loss agrees with a finer rule at several networks."""
        if self.family == "modular":
            nodes, count = residue_pairs(self.residues), self.residues**2
            return InputRule(nodes, np.full(count, 1 / count), 0.0, f"modular[nodes={count}]")
        if self.family == "cube" and self.dimension > 3:
            return self._quasi_monte_carlo(mean_losses)
        best = math.inf
        previous: tuple[int, np.ndarray, np.ndarray, np.ndarray] | None = None
        for size in self._sizes():
            nodes, weights = self._rule(size, even=even, smooth=smooth)
            losses = mean_losses(nodes, weights)
            if previous is not None:
                scale = np.maximum(np.abs(losses), np.finfo(float).tiny)
                error = float(np.max(np.abs(losses - previous[3]) / scale))
                best = min(best, error)
                if error <= accuracy:
                    count, nodes, weights, _ = previous
                    return InputRule(nodes, weights, error, f"{self.family}[nodes={count}]")
            previous = (len(weights), nodes, weights, losses)
        raise ValueError(
            f"the quadrature on {self.family} inputs reaches a relative error of {best:.1g} with "
            f"{_MAX_NODES} nodes, and accuracy={accuracy:g} was asked for; write accuracy="
            f"{max(2 * best, 1e-12):.0e}, a smaller embedding_prior, or a smooth activation"
        )

    def _sizes(self) -> Iterator[int]:
        """Give numbers of nodes along one axis, a quarter more each time."""
        axes = max(1, self.dimension if self.family == "cube" else 1)
        size = 6.0
        while round(size) ** axes <= 4 * _MAX_NODES if axes > 1 else round(size) <= _MAX_NODES:
            yield round(size)
            size *= 1.25

    def _rule(self, size: int, *, even: bool, smooth: bool) -> tuple[np.ndarray, np.ndarray]:
        if self.family == "circle":
            # The midpoint rule is exact for all Fourier modes below its size; an even integrand
            # repeats after half a turn.
            turn = math.pi if even else 2 * math.pi
            angles = (np.arange(size) + 0.5) * (turn / size)
            return np.stack([np.cos(angles), np.sin(angles)], axis=1), np.full(size, 1 / size)
        if self.family == "gaussian":
            return _gaussian(size, even=even, smooth=smooth)
        # One axis with a kink at 0 is cut there; in the plane the kinks lie on lines of any slope.
        cut = self.dimension == 1 and (even or not smooth)
        axis, weights = _legendre(size, cut=cut, even=even and self.dimension == 1)
        grids = np.array(list(itertools.product(axis, repeat=self.dimension)))
        products = np.array(
            [math.prod(part) for part in itertools.product(weights, repeat=self.dimension)]
        )
        return grids, products

    def _quasi_monte_carlo(
        self, mean_losses: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> InputRule:
        """Take all points of independent scrambled Sobol sets; their scatter gives the error."""
        from scipy.stats import qmc  # with all of its distributions: a third of a second

        sets, values = [], []
        for seed in range(_NUM_SCRAMBLES):
            points = qmc.Sobol(self.dimension, seed=seed).random_base2(9)
            sets.append(2 * points - 1)
            values.append(mean_losses(sets[-1], np.full(512, 1 / 512)))
        spread = np.std(values, axis=0, ddof=1) / math.sqrt(_NUM_SCRAMBLES)
        error = float(np.max(spread / np.abs(np.mean(values, axis=0))))
        nodes = np.concatenate(sets)
        count = len(nodes)
        return InputRule(nodes, np.full(count, 1 / count), error, f"sobol[nodes={count}]")


def _gaussian(size: int, *, even: bool, smooth: bool) -> tuple[np.ndarray, np.ndarray]:
    """Build a rule for N(0, 1): equally spaced nodes, or Gauss-Legendre cut at a kink."""
    if smooth:
        # Cut-off and spacing fall together: error of both is exp(-c size).
        cutoff = min(3.0 + 0.12 * size, 9.5) if even else min(3.0 + 0.06 * size, 9.5)
        spacing = cutoff / size if even else 2 * cutoff / size
        nodes = (np.arange(size) + 0.5) * spacing
        nodes = nodes if even else nodes - cutoff
    else:
        half, _ = special.roots_legendre(size)
        nodes = 4.75 * (half + 1)
    densities = np.exp(-(nodes**2) / 2)
    if not smooth:
        _, legendre = special.roots_legendre(size)
        densities = densities * legendre
        if not even:
            nodes, densities = np.concatenate([-nodes[::-1], nodes]), np.tile(densities, 2)
            densities[:size] = densities[size:][::-1]
    return nodes, densities / densities.sum()


def _legendre(size: int, *, cut: bool, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """Build a Gauss-Legendre rule on [-1, 1], cut at 0 or only its positive half."""
    nodes, weights = special.roots_legendre(size)
    if not cut:
        return nodes, weights / 2
    positive, half = (nodes + 1) / 2, weights / 2
    if even:
        return positive, half
    return np.concatenate([-positive[::-1], positive]), np.concatenate([half[::-1], half]) / 2
