"""A comparison of samplers on a program of the user's own, against a reference."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sltprob
from sltprob.problem import problem
from sltprob.reference import reference

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=30)
DATA = {"x": X, "y": 0.7 * X + GENERATOR.normal(size=30)}


def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 3.0))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def exact(beta):
    """λ̂ and F in closed form: a Gaussian in one dimension, about the least squares fit."""
    curvature = np.mean(X**2)
    best = np.mean(X * DATA["y"]) / curvature
    least = np.mean(0.5 * (DATA["y"] - best * X) ** 2) + 0.5 * np.log(2 * np.pi)
    precision = beta * curvature + 1 / 9
    mean = beta * curvature * best / precision
    lambda_hat = 0.5 * beta * curvature * (1 / precision + (mean - best) ** 2)
    free = (
        beta * least
        + 0.5 * np.log(9 * precision)
        + 0.5 * best**2 * beta * curvature / (9 * precision)
    )
    return lambda_hat, free


@pytest.mark.slow
def test_reference_of_a_regression_is_its_closed_form():
    """Four numbers with |z| < 5 each: a false alarm once in 400,000 keys."""
    chosen = problem(line, DATA)
    values = reference(chosen, [3.0, 30.0], draws=800, warmup=300)
    assert [value.beta for value in values] == [3.0, 30.0]
    for value in values:
        lambda_hat, free_energy = exact(value.beta)
        assert value.method.startswith("reference: replica exchange")
        assert 0 < value.mcse < 0.2
        assert abs(value.lambda_hat - lambda_hat) < 5 * value.mcse
        assert abs(value.free_energy - free_energy) < 5 * value.free_energy_mcse


@pytest.mark.slow
def test_samplers_are_compared_on_a_program_of_ones_own(tmp_path):
    out = tmp_path / "out"
    table = sltprob.compare(
        line, ["hmc", "mala"], ["wbic", "n"], data=DATA, draws=2000, out=out, seed=3
    )
    assert [cell["beta"] for cell in table.cells] == pytest.approx([30 / np.log(30)] * 2 + [30] * 2)
    for cell in table.cells:
        assert cell["verdict"] == "trusted"
        error = np.hypot(cell["mcse"], cell["exact_mcse"])
        assert abs(cell["lambda_hat"] - exact(cell["beta"])[0]) < 5 * error
        assert abs(cell["z"]) < 5
    assert {path.name for path in out.iterdir()} == {"report.html", "summary.csv", "runs"}
    assert len(list((out / "runs").iterdir())) == 4
