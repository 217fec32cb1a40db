"""The work that all peers are given, in plain NumPy, with its exact and reference values.

Every problem is a posterior exp(-β L(θ)) times a prior, and asks for one number, λ̂ = β (E[L] - L*).
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent

#: Rubin's eight schools.
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

#: Curvatures of the ill-conditioned Gaussian; at β = 1e4 its precisions go from 2 to 10001.
CURVATURES = np.logspace(-4, 0, 50)

#: Width, rank and rows of deep linear networks with three layers, by their number of parameters.
DEEP_LINEAR = {432: (12, 3, 4_000), 10_800: (60, 10, 10_000), 97_200: (180, 20, 20_000)}

#: The trained network: 64-256-360-10, on 1,000 digits of scikit-learn's.
DIGITS_GAMMA = 10.0
DIGITS_ROWS = 1_000

#: Nodes of the flagship's input distribution: midpoints, exact to 1e-14 where |w| <= 1.
NODES = (np.arange(40) + 0.5) * 0.2
WEIGHTS = np.exp(-0.5 * NODES**2) / np.sum(np.exp(-0.5 * NODES**2))


@dataclass(frozen=True)
class Problem:
    """What is sampled: `kind`, its numbers, β and L*."""

    name: str
    kind: str
    beta: float
    minimum_loss: float
    numbers: dict[str, Any]

    @property
    def reference(self) -> dict[str, Any]:
        """λ̂, its own standard error, and how it was found."""
        return references()[self.name]


@functools.cache
def references() -> dict[str, Any]:
    """Read what `references.py` has computed."""
    return json.loads((HERE / "references.json").read_text())


def logistic_data() -> tuple[np.ndarray, np.ndarray]:
    """Draw 500 rows of ten correlated predictors, and their outcomes."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 10))
    x[:, 1:] += 0.7 * x[:, :1]
    truth = np.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.3, -0.3, 0.0, 0.8, -0.2])
    y = (generator.uniform(size=500) < 1 / (1 + np.exp(-x @ truth))).astype(int)
    return x, y


def mixture(components: int) -> dict[str, np.ndarray]:
    """Give centres, widths and weights of a mixture in five dimensions, ten apart and more."""
    centres = np.zeros((3, 5))
    centres[1, 0], centres[2, 1] = 10.0, 12.0
    widths = np.array([1.0, 0.3, 2.0])
    weights = np.array([0.4, 0.3, 0.3])[:components]
    return {
        "centres": centres[:components],
        "widths": widths[:components],
        "weights": weights / weights.sum(),
        "prior": np.array(10.0),
    }


def deep_linear(size: int) -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Make a deep linear network at its deepest true point, and whitened rows of data."""
    width, rank, rows = DEEP_LINEAR[size]
    generator = np.random.default_rng(0)
    x = np.linalg.qr(generator.standard_normal((rows, width)))[0] * math.sqrt(rows)
    y = generator.standard_normal((rows, width))
    y -= x @ (x.T @ y) / rows
    y[:, :rank] += x[:, :rank]
    layer = np.diag(np.arange(width) < rank).astype(np.float32)
    return [layer] * 3, (x.astype(np.float32), y.astype(np.float32))


def digits() -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Load the trained network and its data, which `references.py` stored."""
    with np.load(HERE / "digits.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    data = arrays.pop("x").astype(np.float32) / 16, arrays.pop("y").astype(np.int64)
    return {name: value.astype(np.float32) for name, value in arrays.items()}, data


def loss_of_all_rows(problem: Problem) -> float:
    """Give the mean loss of all rows at the trained parameters."""
    if problem.kind == "deep-linear":
        layers, (x, y) = deep_linear(problem.numbers["size"])
        for layer in layers:
            x = x @ layer.T
        return float(np.mean(0.5 * np.sum((y - x).astype(float) ** 2, axis=1)))
    params, (x, y) = digits()
    for layer in range(2):
        x = np.maximum(x @ params[f"{layer}.weight"].T + params[f"{layer}.bias"], 0)
    x = (x @ params["2.weight"].T + params["2.bias"]).astype(float)
    top = x.max(axis=1, keepdims=True)
    total = np.log(np.exp(x - top).sum(axis=1)) + top[:, 0]
    return float(np.mean(total - x[np.arange(len(y)), y]))


def get(name: str) -> Problem:
    """Make a problem by its name, such as ``tanh-1e4`` or ``deep-linear-432``."""
    kind, _, rest = name.rpartition("-")
    if kind == "tanh":
        numbers = {"nodes": NODES, "weights": WEIGHTS, "width": 128}
        return Problem(name, "tanh", float(rest), 0.0, numbers)
    if kind == "deep-linear":
        return Problem(name, "deep-linear", 1e3, math.nan, {"size": int(rest), "gamma": 1.0})
    if name == "digits":
        nbeta = DIGITS_ROWS / math.log(DIGITS_ROWS)
        return Problem(name, name, nbeta, math.nan, {"gamma": DIGITS_GAMMA})
    if name == "eight-schools":
        # The likelihood has no more than it gets where every school has its own effect.
        least = float(np.mean(np.log(ERRORS) + 0.5 * math.log(2 * math.pi)))
        return Problem(name, name, 8.0, least, {"y": EFFECTS, "sigma": ERRORS})
    if name == "logistic":
        x, y = logistic_data()
        return Problem(name, name, float(len(y)), references_of_minimum(x, y), {"x": x, "y": y})
    if name == "gaussian":
        return Problem(name, name, 1e4, 0.0, {"curvatures": CURVATURES})
    if name in ("mixture", "two-modes"):
        numbers = mixture(3 if name == "mixture" else 2)
        return Problem(name, "mixture", 1.0, mixture_minimum(numbers), numbers)
    raise ValueError(f"{name}: no such problem")


def references_of_minimum(x: np.ndarray, y: np.ndarray) -> float:
    """Find the least mean loss of a logistic regression by Newton's method."""
    b = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ b))
        b -= np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x, x.T @ (p - y))
    eta = x @ b
    return float(np.mean(np.logaddexp(0, eta) - y * eta))


def mixture_loss(theta: np.ndarray, numbers: dict[str, np.ndarray]) -> np.ndarray:
    """Give minus the log density of a mixture, up to a constant; theta has shape (..., 5)."""
    distance = np.sum((theta[..., None, :] - numbers["centres"]) ** 2, axis=-1)
    terms = np.log(numbers["weights"]) - 5 * np.log(numbers["widths"])
    terms = terms - 0.5 * distance / numbers["widths"] ** 2
    top = terms.max(axis=-1)
    return -(top + np.log(np.exp(terms - top[..., None]).sum(axis=-1)))


def mixture_minimum(numbers: dict[str, np.ndarray]) -> float:
    """Give the loss at the highest centre; the other components do not reach there."""
    return float(mixture_loss(numbers["centres"], numbers).min())
