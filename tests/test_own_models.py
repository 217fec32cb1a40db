"""Do programs, losses and data sets of the user's own give what theory demands?"""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sltprob
from sltprob import models
from sltprob.cli import main

PROGRAM = """
import numpyro
import numpyro.distributions as dist

def line(x, y=None, columns=2):
    b = numpyro.sample("b", dist.Normal(0.0, 100.0).expand([columns]).to_event(1))
    numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)
"""


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 2))
    y = x @ [1.0, -2.0] + generator.normal(size=300)
    (tmp_path / "mine.py").write_text(PROGRAM)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path, x, y


@pytest.mark.turns
def test_a_program_from_a_file_runs_at_wbic(files, capsys):
    """Two coefficients and a wide prior: λ̂ = d/2 = 1. False-alarm rate of |z| < 5: 6e-7."""
    folder, x, y = files
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "run",
                f"{folder}/mine.py:line",
                "--data",
                f"{folder}/data.npz",
                "--beta",
                "wbic",
                "--sampler",
                "mala",
                "--draws",
                "90",
                "--json",
            ]
        )
    assert stopped.value.code == 0
    cell = json.loads(capsys.readouterr().out)
    assert cell["beta"] == pytest.approx(300 / math.log(300))
    assert abs(cell["lambda_hat"] - 1) < 5 * cell["mcse"]
    # Too few draws to be trusted, or for scouts to be compiled, and nothing else is wrong.
    assert set(cell["failed_checks"]) <= {"ess_bulk", "ess_tail", "mcse"}
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    least = 0.5 * np.sum((y - x @ best) ** 2) + 150 * np.log(2 * np.pi)
    # Watanabe's WBIC: n times the mean loss at β = 1/log n, here λ log n above the least.
    error = 5 * cell["mcse"] * math.log(300)
    assert cell["wbic"] == pytest.approx(least + math.log(300), abs=error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{}/mine.py:curve", "--data", "{}/data.npz"], "has no function 'curve'"),
        (["{}/none.py:line", "--data", "{}/data.npz"], "no such file"),
        (["{}/mine.py:line"], "--data"),
        (["{}/mine.py:line", "--data", "{}/mine.py"], "its ending must be one of"),
        (["tanh_zero", "--data", "{}/data.npz"], "has its own data"),
        (["tanh_zero", "--beta", "wbic"], "n="),
    ],
)
def test_what_cannot_be_loaded_is_one_line(files, arguments, words, capsys):
    arguments = [argument.format(files[0]) for argument in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(["run", *arguments])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_find_optimum_finds_least_squares(files):
    _, x, y = files

    def line(x, y=None):
        b = numpyro.sample("b", dist.Normal(0.0, 100.0).expand([2]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

    posterior = sltprob.temper(line, {"x": x, "y": y}, beta=1.0)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(sltprob.find_optimum(posterior).values["b"], best, atol=1e-6)


@pytest.mark.turns
@pytest.mark.parametrize("mean", [False, True])
def test_from_loss_measures_the_local_coefficient(mean):
    """A quadratic loss with localisation: λ̂ = ½ Σ βh/(βh + γ + 1). |z| < 5: 6e-7."""
    curvatures = np.array([1.0, 4.0])
    data = np.zeros((50, 2))
    params = {"layer": {"weight": jnp.zeros(2)}, "name": "kept"}

    def loss(params, batch):
        squares = (params["layer"]["weight"][None] - batch) ** 2
        losses = 0.5 * squares @ curvatures
        return jnp.mean(losses) if mean else losses

    model = sltprob.from_loss(loss, params, data, prior=1.0)
    assert list(model.priors) == ["layer.weight"]
    posterior = sltprob.temper(model, beta=20.0, localization=3.0)
    run = sltprob.sample(posterior, "mala", draws=1500, warmup=300, init="optimum")
    result = sltprob.estimate(run)
    expected = 0.5 * np.sum(20 * curvatures / (20 * curvatures + 3 + 1))
    assert abs(result.value - expected) < 5 * result.mcse


def test_frozen_parameters_stay(files):
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}

    def loss(params, batch):
        return batch[:, 0] * 0 + jnp.sum(params["a"] ** 2) + jnp.sum(params["b"] ** 2)

    data = np.zeros((4, 1))
    model = sltprob.from_loss(loss, params, data, frozen=lambda site: site == "b")
    assert list(model.priors) == ["a"]
    np.testing.assert_array_equal(model.restore({"a": jnp.zeros(2)})["b"], np.ones(3))
    with pytest.raises(ValueError, match="sites are a"):
        sltprob.from_loss(loss, params, data, frozen=lambda site: True)
    with pytest.raises(ValueError, match="one row per datum"):
        sltprob.from_loss(loss, params, (data, np.zeros(3)))
    with pytest.raises(ValueError, match="standard deviation"):
        sltprob.from_loss(loss, params, data, prior=-1.0)


@pytest.mark.turns
@pytest.mark.parametrize("name", models.names())
def test_every_model_has_data_sets(name):
    model = models.get(f"{name}[n=40,seed=5]")
    posterior = sltprob.temper(model, beta=40.0)
    assert len(posterior.weights) == 40
    assert np.isfinite(float(posterior.minimum_loss))
    position = posterior.draw_prior(jax.random.key(0))
    gradient = jax.jit(jax.grad(posterior.logdensity))(position)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))

    def same(other):
        """Say whether a model has the data that were tempered."""
        ours, theirs = posterior.arguments, models.get(other).data().arguments
        return all(np.array_equal(ours[key], theirs[key]) for key in ours)

    assert same(f"{name}[n=40,seed=5]")
    assert not same(f"{name}[n=40,seed=6]")


@pytest.mark.parametrize("name", ["radial", "regular", "tanh_zero[width=3]", "reduced_rank"])
def test_data_sets_have_the_populations_loss_on_average(name):
    """Loss above the truth, over 400 data sets. False-alarm rate of |z| < 5: 6e-7."""
    base = name.removesuffix("]") + ("," if name.endswith("]") else "[")
    population = sltprob.temper(models.get(name), beta=1.0)
    position = population.draw_prior(jax.random.key(1))
    expected = float(population.loss(position)) - float(population.minimum_loss)
    losses = []
    first = sltprob.temper(models.get(f"{base}n=30,seed=0]"), beta=1.0)
    truth = first.unconstrain(first.structure.model.optimum())

    @jax.jit
    def excess(arguments):
        posterior = dataclasses.replace(first, arguments=arguments)
        return posterior.loss(position) - posterior.loss(truth)

    for seed in range(400):
        drawn = first.structure.model.draw_data(np.random.default_rng(seed), 30)
        losses.append(float(excess({key: jnp.asarray(value) for key, value in drawn.items()})))
    error = np.std(losses) / np.sqrt(len(losses))
    assert abs(np.mean(losses) - expected) < 5 * error


def test_n_must_be_positive():
    with pytest.raises(ValueError, match="n=0"):
        sltprob.temper(models.get("tanh_zero[n=0]"), beta=1.0)
