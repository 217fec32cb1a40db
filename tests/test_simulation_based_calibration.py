"""Are ranks uniform for a right sampler, and not for a wrong one?"""

import json
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import sltprob
from sltprob.cli import main
from sltprob.probes.simulation_based_calibration import rank_checks
from sltprob.samplers.base import Sampler, Warmup, evaluate_position


@dataclass(frozen=True, kw_only=True)
class Conjugate(Sampler):
    """Independent draws of the posterior of `regular` with unit spectrum, in closed form.

    `hotter` raises the likelihood to a power, `stretch` multiplies the standard deviation.
    """

    hotter: float = 1.0
    stretch: float = 1.0

    def warmup(self, rng_key, posterior, positions, num_steps):
        states = jax.vmap(lambda position: evaluate_position(posterior, position))(positions)
        count = jax.tree.leaves(positions)[0].shape[0]
        return Warmup(states, {}, {"loss": jnp.zeros((1, count))}, jnp.asarray(0))

    def step(self, rng_key, posterior, state, parameters):
        y = posterior.arguments["y"]
        precision = 1 + self.hotter * posterior.beta
        mean = self.hotter * posterior.beta * jnp.mean(y, axis=0) / precision
        noise = jax.random.normal(rng_key, mean.shape) / jnp.sqrt(precision)
        position = {"w": mean + self.stretch * noise}
        return evaluate_position(posterior, position), {"num_gradients": jnp.asarray(1)}


def calibrate(sampler, model="regular[dimension=2]", **options):
    return sltprob.simulation_based_calibration(model, sampler, **options)


def names(result):
    return {check.name for check in result.failed}


@pytest.mark.slow
def test_exact_draws_are_calibrated():
    """The data come from the likelihood, at β = n: else exact draws would fail. Alarms: 1e-3."""
    result = calibrate(Conjugate(), n=5, sets=60, draws=50, warmup=20)
    assert result.passed, str(result)
    assert result.n == 5
    assert result.ranks.keys() == {"loss", "w"}
    assert result.counts("loss").sum() == 60


@pytest.mark.slow
def test_a_posterior_of_twice_the_data_is_found():
    result = calibrate(Conjugate(hotter=2.0), n=5, sets=60, draws=50, warmup=20)
    assert "sbc[loss]" in names(result)
    assert all(check.evidence for check in result.failed)


@pytest.mark.slow
@pytest.mark.parametrize("stretch", [0.7, 1.4])
def test_a_wrong_spread_is_found(stretch):
    result = calibrate(Conjugate(stretch=stretch), n=5, sets=200, draws=50, warmup=20)
    assert "sbc[loss]" in names(result)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "regular[spectrum=1:0.1]",
        "tanh_zero[width=2]",
        "network[width=2,activation=erf,target=unit]",
        "normal_crossing[prior=normal]",
        "reduced_rank[input=2,hidden=1,output=2]",
        "gaussian_mixture[mean_scale=2]",
    ],
)
def test_hmc_is_calibrated_on_every_kind_of_likelihood(model):
    """Alarms: 1e-3 each."""
    result = calibrate("hmc", model, draws=500)
    assert result.passed, str(result)


@pytest.mark.slow
def test_langevin_with_a_large_step_is_not_calibrated():
    """The variance is 1/(1 - εc/2) = 2.2 times right, c = 21."""
    result = calibrate("sgld[batch_size=none,step_size=0.052,steps_per_draw=10]", n=20)
    assert "sbc[loss]" in names(result)
    assert "sbc_ess" not in names(result)


@pytest.mark.slow
def test_correlated_draws_are_no_evidence_of_a_wrong_law():
    result = calibrate("random_walk[step_size=1e-3,steps_per_draw=1]", draws=100)
    assert "sbc_ess" in names(result)


# ---- ranks


def test_uniform_ranks_pass():
    """False-alarm rate: 1e-3 by the chi-square law; 3 in 2000 or more has probability 0.3.

    More than 8 has probability 1e-4.
    """
    generator = np.random.default_rng(0)
    alarms = sum(
        not all(
            check.passed
            for check in rank_checks({q: generator.integers(0, 100, 200) for q in ("loss", "w")})
        )
        for _ in range(2000)
    )
    assert alarms <= 8


@pytest.mark.parametrize(
    ("law", "words"),
    [
        (lambda u: u**1.6, "too large"),
        (lambda u: 1 - u**1.6, "too small"),
        (lambda u: 0.5 + 0.5 * np.sign(u - 0.5) * np.abs(2 * u - 1) ** 0.4, "too narrowly"),
        (lambda u: 0.5 + 0.5 * np.sign(u - 0.5) * np.abs(2 * u - 1) ** 2.0, "too widely"),
    ],
)
def test_the_shape_of_the_ranks_says_what_is_wrong(law, words):
    places = law(np.random.default_rng(0).uniform(size=400))
    (check,) = rank_checks({"loss": (100 * places).astype(int).clip(0, 99)})
    assert not check.passed
    assert words in check.advice


# ---- what data can be simulated


def regression(x, y):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


@pytest.mark.slow
def test_a_program_of_the_users_own():
    """Alarms: 1e-3."""
    x = np.linspace(-1, 1, 12)
    result = sltprob.simulation_based_calibration(
        regression, "hmc", data={"x": x, "y": np.zeros(12)}
    )
    assert result.passed, str(result)
    assert result.ranks.keys() == {"loss", "slope"}
    assert result.model == "regression"


def transformed(x, y):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=2 * y)


def test_what_cannot_be_simulated_is_refused():
    loss = sltprob.from_loss(lambda w, x: (w * x) ** 2, np.ones(()), np.ones(5))
    with pytest.raises(ValueError, match="has no data to draw"):
        calibrate("hmc", loss)
    data = {"x": np.linspace(-1, 1, 12), "y": np.zeros(12)}
    with pytest.raises(ValueError, match="does not observe an argument"):
        sltprob.simulation_based_calibration(transformed, data=data)
    weighted = sltprob.Data(data, np.linspace(1, 2, 12))
    with pytest.raises(ValueError, match="weights"):
        sltprob.simulation_based_calibration(regression, data=weighted)
    with pytest.raises(ValueError, match="sets=10"):
        calibrate("hmc", sets=10)
    with pytest.raises(ValueError, match="at least 99"):
        calibrate("hmc", draws=20)
    with pytest.raises(ValueError, match="data go with a program"):
        calibrate("hmc", data=data)


@pytest.mark.slow
def test_command_line(tmp_path, capsys):
    out = tmp_path / "sbc.json"
    arguments = ["sbc", "regular[dimension=2]", "--sampler", "mala", "--sets", "50", "--strict"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", str(out)])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "ranks of loss" in text
    stored = json.loads(out.read_text(encoding="utf-8"))
    assert len(stored["ranks"]["w"]) == 50
    assert math.isfinite(stored["gradients"])
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", str(out)])
    assert stop.value.code == 2
