"""Is a run that has missed a basin never trusted, and one that has not always?"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import sltprob
from sltprob.models._potential import Potential
from sltprob.sampling.scouts import has_use_for_scouts

CENTRES = jnp.array([[3.0, 0.0], [-2.0, 2.0], [-1.0, -3.0]])
DEPTHS = jnp.array([0.0, 0.5, 1.0])
WIDTHS = jnp.array([0.3, 0.5, 0.2])


def wells(x):
    """Three Gaussian wells in the plane, the deepest the narrowest."""
    squares = jnp.sum((x[None] - CENTRES) ** 2, axis=-1)
    return -jnp.log(jnp.sum(jnp.exp(DEPTHS - squares / (2 * WIDTHS**2))))


def hole(x, copies=0.0):
    """A broad basin with a narrow deep hole in its side, and with its copies on the other side."""

    def depth(x):
        return jnp.exp(-jnp.sum((x - jnp.array([1.5, 1.0])) ** 2) / 0.02)

    return jnp.sum(x**2) / 8 - depth(x) - copies * depth(-x)


def program_of(loss):
    def program(y, **given):
        x = numpyro.sample("x", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
        numpyro.sample("y", Potential(loss(x, **given)[None]), obs=y)

    return program


# One program, so that it is compiled once.
HOLE = program_of(hole)


def holes(beta, copies):
    data = {"y": np.zeros(1), "copies": np.asarray(copies)}
    return sltprob.temper(HOLE, data, beta=beta)


def exact(loss, beta):
    """Sum over a grid that resolves the narrowest width; the second value is the least loss."""
    axis = np.linspace(-8, 8, 1201)
    points = jnp.asarray(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    losses = np.asarray(jax.vmap(loss)(points))
    log_weights = -beta * losses - np.sum(np.asarray(points) ** 2, axis=1) / 8
    weights = np.exp(log_weights - log_weights.max())
    return beta * (weights @ losses / weights.sum() - losses.min()), losses.min()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "betas"), [(wells, (1.0, 10.0, 50.0)), (hole, (3.0, 8.0, 20.0, 100.0))]
)
def test_what_is_trusted_is_right_where_there_are_several_basins(loss, betas):
    """Of runs that start anywhere: wrong is 5 % and 4 standard errors off.

    Before there were scouts, chains that all missed the hole were trusted. An honest error bar is
    off by so much once in 16,000 runs.
    """
    program = program_of(loss)
    for beta in betas:
        truth, least = exact(loss, beta)
        posterior = sltprob.temper(program, {"y": np.zeros(1)}, beta=beta, minimum_loss=least)
        for seed, init in enumerate(("prior", "both", "optimum")):
            run = sltprob.sample(posterior, "hmc", seed=seed, init=init)
            found = sltprob.estimate(run)
            off = abs(found.value - truth)
            is_wrong = off > max(0.05 * truth, 4 * found.mcse)
            assert not (is_wrong and sltprob.diagnose(run).trusted), (beta, init, found, truth)


@pytest.mark.turns
def test_scouts_say_what_they_saw_and_what_to_do():
    truth, least = exact(hole, 20.0)
    # Without L*, which would tell that no draw comes near it.
    posterior = holes(20.0, 0.0)
    run = sltprob.sample(posterior, "hmc")
    assert isinstance(run["scouts"], xr.DataTree)
    assert run["scouts"]["loss"].dims == ("scout", "scout_draw")
    assert run.attrs["seconds_scouts"] > 0
    verdict = sltprob.diagnose(run)
    (failed,) = verdict.failed
    assert failed.name == "scouts"
    assert "replica_exchange" in failed.advice
    seen = []
    again = sltprob.sample(posterior, "hmc", progress=seen.append)
    assert [each.stage for each in seen[-2:]] == ["scout", "done"]
    assert np.isfinite(seen[-1].mcse)
    np.testing.assert_array_equal(again["scouts"]["loss"], run["scouts"]["loss"])
    # What a scout sees can be kept, and is judged from the file.
    assert truth < sltprob.estimate(run, minimum_loss=least).value


def test_copies_of_one_basin_are_not_other_basins():
    """Signs and permutations: a network has many copies of every basin, and all have one loss."""
    there = {"x": np.array([1.5, 1.0])}
    for copies in (1.0, 0.9):
        run = sltprob.sample(holes(400.0, copies), "hmc", init=there)
        (check,) = [check for check in sltprob.diagnose(run).checks if check.name == "scouts"]
        assert check.passed
        # A copy is none of the basins that were missed; one that is not as deep is, of no weight.
        assert np.isnan(run["scouts"]["log_weight"]).all()


def test_a_sampler_of_a_ladder_and_a_localised_posterior_have_no_use_for_scouts():
    plain = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=30.0)
    ladder, other = map(sltprob.samplers.get, ("tempered_smc", "mala"))
    assert has_use_for_scouts(plain, other)
    assert not has_use_for_scouts(plain, ladder)
    assert not has_use_for_scouts(dataclasses.replace(plain, localization=1.0), other)


@pytest.mark.slow
def test_a_sampler_of_a_ladder_and_a_localised_posterior_have_no_scouts():
    model = sltprob.models.get("regular[dimension=2]")
    ladder = sltprob.sample(
        sltprob.temper(model, beta=30.0), "tempered_smc[num_rungs=4]", draws=100, warmup=32
    )
    near = sltprob.temper(model, beta=30.0, localization=1.0)
    assert "scouts" not in ladder.children
    sent = sltprob.sample(near, "mala", draws=2000)
    assert sltprob.diagnose(sent).trusted
    assert "scouts" not in sent.children


@pytest.mark.parametrize("sampler", ["elliptical_slice", "mala", "sgld", "mclmc", "random_walk"])
@pytest.mark.slow
def test_every_kernel_goes_on_from_where_a_scout_stands(sampler):
    posterior = sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=30.0)
    run = sltprob.sample(posterior, sampler, draws=1500, seed=1)
    verdict = sltprob.diagnose(run)
    assert verdict.trusted, verdict
    seen = 30 * run["scouts"]["loss"].values
    # 16 means over 19 draws of a variable with the mean and the deviation 1.
    assert abs(seen[:, 6:].mean() - 30 / 31) < 0.6
