"""Forces in single precision: they change what a trajectory costs, and not where it ends up."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc.metrics import default_metric

import sltprob
from sltprob import models
from sltprob.samplers import _forces, hmc
from sltprob.samplers.hmc import HMC
from sltprob.sampling import compilation

SMALL = "tanh_zero[width=3]"


def tempered(text, beta, **options):
    return sltprob.temper(models.get(text), beta=beta, **options)


def z_score(run, text, beta):
    found, exact = sltprob.estimate(run), models.get(text).exact(beta)
    return abs(found.value - exact.lambda_hat) / np.hypot(found.mcse, exact.mcse)


@pytest.fixture
def everywhere(monkeypatch):
    """Let every run have such forces, with programs of its own."""
    monkeypatch.setattr(compilation, "programs", {})
    monkeypatch.setattr(hmc, "pays", lambda posterior: True)


def in_eight_bits(tree):
    return jax.tree.map(
        lambda leaf: (
            jax.lax.reduce_precision(leaf.astype(jnp.float32), 8, 7)
            if leaf.dtype == jnp.float64
            else leaf
        ),
        tree,
    )


@pytest.mark.turns
@pytest.mark.usefixtures("everywhere")
def test_forces_of_two_digits_leave_the_posterior_as_it_is(monkeypatch):
    """Of a smooth density they are wrong by a hundredth; |z| < 5 fails once in 1.7 million."""
    monkeypatch.setattr(_forces, "_single", in_eight_bits)
    run = sltprob.sample(tempered(SMALL, 1e2), "hmc", draws=4000, warmup=300, seed=1)
    assert run.attrs["force_dtype"] == "float32"
    assert z_score(run, SMALL, 1e2) < 5
    assert sltprob.estimate(run).mcse < 0.03
    assert sltprob.diagnose(run).status != "wrong"


@pytest.mark.turns
@pytest.mark.usefixtures("everywhere")
def test_without_the_potential_in_the_energies_it_is_another(monkeypatch):
    """The mutant: the test of Metropolis sees the kinetic energy alone, and chains run away."""
    monkeypatch.setattr(hmc, "with_potential", lambda metric, posterior: default_metric(metric))
    run = sltprob.sample(tempered(SMALL, 1e2), "hmc[step_size=0.1]", draws=1000, warmup=200, seed=1)
    exact = models.get(SMALL).exact(1e2).lambda_hat
    assert not abs(sltprob.estimate(run).value - exact) < 10 * exact
    assert sltprob.diagnose(run).status == "wrong"


@pytest.mark.turns
@pytest.mark.usefixtures("everywhere")
def test_a_draw_knows_density_and_gradient_to_all_digits():
    posterior = tempered(SMALL, 1e4)
    sampler, _ = HMC().prepared(jax.random.key(0), posterior)
    position = posterior.draw_prior(jax.random.key(1))
    parameters = sampler._parameters_at(
        jnp.asarray(0.01), {"inverse_mass_matrix": jnp.ones(6)}, 1.0
    )
    state = sampler._init(posterior, position)
    for key in jax.random.split(jax.random.key(2), 5):
        before = state
        state, info = sampler.step(key, posterior, state, parameters)
        known = sampler.evaluate(posterior, state)
        value, gradient = jax.value_and_grad(posterior.logdensity)(known.position)
        np.testing.assert_allclose(known.logdensity, value, rtol=1e-12)
        for name in gradient:
            np.testing.assert_array_equal(known.logdensity_grad[name], gradient[name])
        # The energy is that of the state that was kept.
        assert float(info["energy"]) >= -float(value)
        assert state.count == before.count + 1


def test_the_force_is_the_gradient_to_six_digits():
    posterior = tempered("tanh_zero", 1e6)
    position = posterior.draw_prior(jax.random.key(0))
    value, force = jax.value_and_grad(_forces.single_force(posterior))(position)
    exact = jax.grad(posterior.logdensity)(position)
    assert value == 0
    for name, slope in exact.items():
        assert force[name].dtype == slope.dtype
        error = jnp.linalg.norm(force[name] - slope) / jnp.linalg.norm(slope)
        assert 1e-9 < error < 1e-5


def test_they_are_single_where_that_pays():
    assert _forces.pays(tempered("tanh_zero", 1e6))
    assert _forces.pays(tempered("network[width=64]", 1e2))
    assert not _forces.pays(tempered("tanh_zero", 1e10)), "too cold for seven digits"
    assert not _forces.pays(tempered("tanh_zero[width=16]", 1e6)), "it compiles for longer"
    assert not _forces.pays(tempered("tanh_zero", 1e6, reparameterise="readout"))
    assert not _forces.pays(tempered("deep_linear", 1e2))


@pytest.mark.turns
def test_a_run_says_which_it_had():
    options = {"draws": 20, "warmup": 20, "seed": 0}
    run = sltprob.sample(tempered("tanh_zero[width=64]", 1e2), "hmc", **options)
    assert run.attrs["force_dtype"] == "float32"
    assert run.attrs["dtype"] == "float64"
    assert run.attrs["sampler"] == "hmc"
    run = sltprob.sample(tempered(SMALL, 1e2), "hmc", **options)
    assert run.attrs["force_dtype"] == "float64"


def test_it_is_no_option():
    assert "single_forces" not in [field.name for field in dataclasses.fields(HMC) if field.init]
    with pytest.raises(ValueError, match="single_forces"):
        sltprob.samplers.get("hmc[single_forces=true]")


@pytest.mark.slow
@pytest.mark.parametrize("beta", [1e2, 1e5, 1e7])
def test_they_cost_no_acceptance_and_the_answer_is_exact(beta, monkeypatch):
    """|z| < 5 fails once in 1.7 million; acceptance rates differ by 0.01 from seed to seed."""
    text = "tanh_zero[width=64]"
    runs = []
    for single in (True, False):
        monkeypatch.setattr(hmc, "pays", lambda posterior, single=single: single)
        runs.append(sltprob.sample(tempered(text, beta), "hmc", draws=1000, warmup=500, seed=3))
    assert z_score(runs[0], text, beta) < 5
    rates = [float(run["sample_stats"]["acceptance_rate"].mean()) for run in runs]
    steps = [run.attrs["step_size"] for run in runs]
    assert abs(rates[0] - rates[1]) < 0.06
    assert steps[0] > 0.7 * steps[1]
