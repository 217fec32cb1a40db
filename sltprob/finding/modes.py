"""Modes of random networks: what one sees of them, and what random inputs would have cost."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sltprob.files import write_csv
from sltprob.finding.figures import inputs_figure, modes_figure
from sltprob.finding.sources import SOURCES
from sltprob.report.figures import Figure
from sltprob.report.sheet import SheetTable, write_sheet
from sltprob.theory import hermite

__all__ = ["RandomModes", "random_modes"]

type Array = NDArray[np.float64]

_COUNTS = (100, 1000, 10_000, 100_000)
_REPEATS = 100
_PROBE = 3
# The modes of the printed table.
_SHOWN = (0, 1, 2, 3, 4, 5, 11, 21, 51, 101, 151, 201, 249)


@dataclass(frozen=True, eq=False)
class RandomModes:
    """Squared coefficients of random networks with the prediction for their decay."""

    name: str
    squares: Array  # shape (networks, K + 1)
    # Of the log of the mean; its error is from the scatter between networks
    fit: hermite.SlopeFit | None
    predicted: float | None  # Predicted limit of the slope; None where the decay is no such law
    prediction: Array  # shape (K + 1,)
    prediction_name: str
    root: bool  # whether the law is in sqrt(k)
    mean_square: float  # ``E f^2``, mean over networks
    probe: int  # Mode of `random_inputs`
    # Number of random inputs, measured and predicted squared error of c_probe of one network
    random_inputs: list[tuple[int, float, float]]

    def as_json(self) -> dict[str, Any]:
        """Give everything as plain data."""
        mean = self.squares.mean(axis=0)
        return {
            "name": self.name,
            "mean": mean.tolist(),
            "log_mean": [math.log(value) if value > 0 else None for value in mean],
            "fit": None if self.fit is None else asdict(self.fit),
            "predicted_slope": self.predicted,
            "mean_square": self.mean_square,
            "random_inputs": [
                {"inputs": n, "measured": m, "predicted": p} for n, m, p in self.random_inputs
            ],
        }

    def sentences(self) -> list[str]:
        """Say what was found."""
        variable = "√k" if self.root else "k"
        found = []
        if self.fit is not None:
            text = (
                f"Slope of log mean c² against {variable}, k = {self.fit.first}…{self.fit.last}: "
                f"{self.fit.slope:.3f} ± {self.fit.error:.3f}"
            )
            if self.predicted is not None:
                text += f"; predicted limit {self.predicted:.3f}, from the nearest pole"
            found.append(text + ".")
        mean = self.squares.mean(axis=0)
        even, odd = float(mean[::2].sum()), float(mean[1::2].sum())
        if even == 0:
            found.append("Even modes vanish.")
        elif odd > 0:
            found.append(f"Even modes carry {100 * even / (even + odd):.3g} % of the mean square.")
        if self.random_inputs:
            ratio = np.mean([m / p for _, m, p in self.random_inputs])
            found.append(
                f"From N random inputs the squared error of c_{self.probe} is {ratio:.2f} times "
                "Var[f he_k]/N: a mode with c² = ε needs of order 1/ε of them, quadrature needs "
                "none."
            )
        return found

    def tables(self) -> list[SheetTable]:
        """Give some modes, and what random inputs would have cost, as text."""
        mean = self.squares.mean(axis=0)
        modes = [
            [
                str(k),
                f"{mean[k]:.4g}",
                f"{math.log(mean[k]):.2f}" if mean[k] > 0 else "vanishes",
                f"{self.mean_square / mean[k]:.2g}" if mean[k] > 0 else "–",
            ]
            for k in _SHOWN
            if k < len(mean)
        ]
        headings = ("k", "mean c²", "log mean c²", "random inputs for this, predicted")
        found = [SheetTable(f"{self.name}: {len(self.squares)} networks", headings, modes)]
        if self.random_inputs:
            rows = [[f"{n}", f"{m:.3g}", f"{p:.3g}"] for n, m, p in self.random_inputs]
            inputs = ("N random inputs", "squared error, measured", "predicted Var/N")
            found.append(SheetTable(f"Random inputs, mode k = {self.probe}", inputs, rows))
        return found

    def figures(self) -> list[Figure]:
        """Draw the modes, and what random inputs would have cost."""
        figures = [
            modes_figure(
                self.squares, self.prediction, prediction_name=self.prediction_name, root=self.root
            )
        ]
        if self.random_inputs:
            figures.append(inputs_figure(*map(list, zip(*self.random_inputs, strict=True))))
        return figures

    def write(self, folder: Path, *, command: str = "") -> None:
        """Write modes.html and modes.csv."""
        tables = self.tables()
        write_sheet(
            folder / "modes.html",
            title=tables[0].caption,
            sentences=self.sentences(),
            figures=self.figures(),
            tables=tables,
            sources=SOURCES[2:3],
            command=command,
        )
        rows = [
            {"k": k, "mean": self.squares[:, k].mean(), "prediction": self.prediction[k]}
            | {f"network{n}": value for n, value in enumerate(self.squares[:, k])}
            for k in range(self.squares.shape[1])
        ]
        write_csv(rows, folder / "modes.csv")


def random_modes(
    *,
    width: int = 128,
    embedding_prior: str = "uniform[1]",
    activation: str = "tanh",
    inputs: str = "gaussian",
    networks: int = 40,
    order: int = 250,
    first: int = 21,
    last: int = 199,
    seed: int = 0,
) -> RandomModes:
    """Draw networks from their prior and compute their modes.

    References
    ----------
    Hille, E. (1940). Contributions to the theory of Hermitian series II. Transactions of the AMS
    47, 80-94.
    """
    from sltprob.models._embedding import EmbeddingPrior

    prior = EmbeddingPrior.parse(embedding_prior)
    if inputs not in ("gaussian", "circle") or (inputs == "circle" and activation != "tanh"):
        raise ValueError(f"inputs={inputs}: gaussian, or circle with activation tanh")
    readouts, slopes = hermite.random_networks(
        prior.draw, width=width, networks=networks, seed=seed
    )
    name = f"{activation}, {inputs} inputs, h={width}, w ~ {embedding_prior}"
    if inputs == "circle":
        return _circle(name, prior, readouts, slopes, order, (first, last), seed)
    values = hermite.network_coefficients(readouts, slopes, order, activation)
    squares = values**2
    fit = _fit(squares, first, last, root=True) if activation == "tanh" else None
    # The nearest pole is that of the largest slope; a normal prior has no largest one.
    bounded = activation == "tanh" and prior.family == "uniform"
    predicted = hermite.predicted_slope(prior.scale) if bounded else None
    exponents, named = _law(activation, prior, order)
    prediction = _scaled(squares, exponents, first, last)
    probe = min(_PROBE, order)
    x = np.asarray(0.005 * np.arange(-2000, 2001), dtype=np.float64)
    weights = np.exp(-0.5 * x**2) / np.sum(np.exp(-0.5 * x**2))
    function = _ACTIVATIONS[activation]
    outputs = readouts[0] @ function(slopes[0][:, None] * x)
    mean_square = float(np.mean(_mean_squares(readouts, slopes, function, x, weights)))
    basis = hermite.normalised_hermite(probe, x)[probe]
    variance = float(weights @ (outputs * basis) ** 2 - values[0, probe] ** 2)
    generator = np.random.default_rng([seed, 1])
    measured = []
    for count in _COUNTS:
        errors = []
        for _ in range(_REPEATS):
            points = generator.normal(size=count)
            # Interpolation of f on a grid this fine is exact to 1e-5, far below the error here.
            estimate = hermite.sampled_coefficients(np.interp(points, x, outputs), points, probe)
            errors.append((estimate[probe] - values[0, probe]) ** 2)
        measured.append((count, float(np.mean(errors)), variance / count))
    return RandomModes(
        name, squares, fit, predicted, prediction, named, True, mean_square, probe, measured
    )


def _law(activation: str, prior: Any, order: int) -> tuple[Any, str]:
    """Give the log of the predicted decay of c_k^2, up to a constant, and its name."""
    k = np.arange(order + 1.0)
    if activation == "relu":
        # A kink: algebraic, whatever the slopes.
        return -2.5 * np.log(np.maximum(k, 1.0)), "k^(-5/2)"
    if prior.family != "uniform":
        return -math.pi * np.sqrt(k), "exp(-π √k), for comparison"
    w = prior.scale
    if activation in ("erf", "gelu"):
        # Entire: no pole, and an exponential law in k itself.
        base = w**2 / (w**2 + 0.5) if activation == "erf" else w**2 / (w**2 + 1.0)
        return k * math.log(base), f"{base:.3g}^k"
    if activation == "sin":
        return 2.0 * k * math.log(w) - special.gammaln(k + 1.0), f"{w:g}^(2k) / k!"
    # The poles of softplus are those of tanh(z/2).
    slope = hermite.predicted_slope(w if activation == "tanh" else 0.5 * w)
    return slope * np.sqrt(k), f"exp({slope:.3g} √k)"


def _circle(
    name: str,
    prior: Any,
    readouts: Array,
    slopes: Array,
    order: int,
    fitted: tuple[int, int],
    seed: int,
) -> RandomModes:
    """Draw directions in the plane; the modes of a network are complex sums of those of units."""
    generator = np.random.default_rng([seed, 2])
    others = prior.draw(generator, slopes.shape)
    lengths, angles = np.hypot(slopes, others), np.arctan2(others, slopes)
    orders = np.arange(order + 1, dtype=np.float64)
    squares = []
    for a, r, t in zip(readouts, lengths, angles, strict=True):
        units = hermite.fourier_coefficients(r, order)
        squares.append(
            np.abs((a[:, None] * units * np.exp(1j * t[:, None] * orders)).sum(axis=0)) ** 2
        )
    powers = np.array(squares)
    largest = prior.scale * math.sqrt(2.0) if prior.family == "uniform" else None
    predicted = None if largest is None else -2.0 * math.asinh(math.pi / (2.0 * largest))
    last = min(fitted[1], 4 * fitted[0], order)
    fit = _fit(powers, fitted[0], last, root=False)
    slope = predicted if predicted is not None else fit.slope
    prediction = _scaled(powers, slope * orders, fitted[0], last)
    mean_square = float(powers.sum(axis=1).mean())
    return RandomModes(
        name,
        powers,
        fit,
        predicted,
        prediction,
        f"exp({slope:.3g} k)",
        False,
        mean_square,
        _PROBE,
        [],
    )


def _fit(squares: Array, first: int, last: int, *, root: bool) -> hermite.SlopeFit:
    """Fit the log of the mean; the error comes from jackknife over networks."""
    with np.errstate(divide="ignore"):
        whole = hermite.fit_slope(np.log(squares.mean(axis=0)), first, last, root=root)
        count = len(squares)
        if count < 3:
            return whole
        total = squares.sum(axis=0)
        slopes = [
            hermite.fit_slope(np.log((total - row) / (count - 1)), first, last, root=root).slope
            for row in squares
        ]
    error = math.sqrt((count - 1) * float(np.var(slopes)))
    return hermite.SlopeFit(whole.slope, error, whole.intercept, whole.first, whole.last)


def _scaled(squares: Array, exponents: Any, first: int, last: int) -> Array:
    """Scale exp(exponents) to the mean square in the middle of the fitted range."""
    mean = squares.mean(axis=0)
    present = np.flatnonzero(mean > 0)
    middle = present[np.argmin(np.abs(present - 0.5 * (first + min(last, len(mean) - 1))))]
    with np.errstate(over="ignore"):
        prediction: Array = mean[middle] * np.exp(exponents - exponents[middle])
    return np.minimum(prediction, 1e300)


def _mean_squares(
    readouts: Array, slopes: Array, function: Any, x: Array, weights: Any
) -> list[float]:
    return [
        float(weights @ (a @ function(w[:, None] * x)) ** 2)
        for a, w in zip(readouts, slopes, strict=True)
    ]


def _relu(z: Array) -> Array:
    return np.maximum(z, 0.0)


def _activations() -> dict[str, Any]:
    return {
        "tanh": np.tanh,
        "erf": special.erf,
        "sin": np.sin,
        "relu": _relu,
        "softplus": lambda z: np.logaddexp(z, 0.0),
        "gelu": lambda z: z * special.ndtr(z),
    }


_ACTIVATIONS = _activations()
