"""Trajectories of hmc: their lengths, and what those are for."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats

import sltprob
from sltprob import models
from sltprob.chance import scattered_uniform
from sltprob.samplers.base import same_in_all_chains

# Widths from 1 to 1/1000, two of each: all are resolved at this temperature.
STIFF = "regular[spectrum=1:1:100:100:1e4:1e4:1e6:1e6,prior_scale=10]"


def sample(text, beta, sampler="hmc", **options):
    posterior = sltprob.temper(models.get(text), beta=beta)
    return sltprob.sample(posterior, sampler, **({"warmup": 300} | options))


def gradients(run):
    counts = run["sample_stats"]["num_gradients"].values
    assert np.all(counts == counts[0])  # one number for all chains
    return counts[0]


def loss_ess(run):
    return float(az.ess(run["sample_stats"].to_dataset()[["loss"]], method="mean")["loss"])


@pytest.mark.slow
def test_one_draw_in_64_has_the_whole_length():
    run = sample("tanh_zero[width=4]", 1e8, draws=128)
    tuned = {name: int(run["constant_data"][name]) for name in ("num_steps", "num_steps_long")}
    whole, short = tuned["num_steps_long"], tuned["num_steps"]
    assert short == max(whole // 64, 64)
    assert whole > 64 * 64
    following = [short // 4**k for k in range(1, 10) if short // 4**k >= 4]
    assert following[0] == short // 4
    assert int(run["constant_data"]["num_following"]) == len(following)
    number = np.arange(128)
    level = sum((number % period == 0).astype(int) for period in (4, 16, 64))
    lengths = np.stack(
        [np.maximum(whole // 4 ** (3 - level), short)]
        + [np.full(128, steps) for steps in following]
    )
    found, mean = gradients(run), lengths.sum(axis=0)
    # All of a draw are spread by one factor, from 1/2 to 3/2, evenly: a fixed length is in
    # resonance with some direction.
    factors = found / mean
    assert np.all((factors > 0.48) & (factors < 1.52))
    assert scipy.stats.kstest(factors, scipy.stats.uniform(0.5, 1).cdf).statistic < 0.03


@pytest.mark.turns
def test_where_the_whole_length_is_short_every_draw_has_it():
    run = sample("regular[dimension=2]", 10, draws=70)
    whole = int(run["constant_data"]["num_steps_long"])
    assert whole < 16
    assert abs(gradients(run).mean() - whole) < 0.25
    assert gradients(run).min() >= 1


@pytest.mark.turns
def test_a_number_of_steps_is_taken_as_given():
    np.testing.assert_array_equal(gradients(sample(STIFF, 1, "hmc[num_steps=37]", draws=70)), 37)


DIMENSION, RATIO = 20, 3
CURVATURES = np.repeat([1.0, RATIO**2], DIMENSION // 2)
ROTATION = scipy.stats.ortho_group.rvs(DIMENSION, random_state=0)


def rotated(mode, y):
    """A Gaussian of two widths in directions that are no coordinates."""
    w = numpyro.sample("w", dist.Normal(0.0, 10.0).expand([DIMENSION]).to_event(1))
    numpyro.sample("y", dist.Normal((jnp.asarray(ROTATION.T) @ w)[mode], 1.0), obs=y)


@pytest.mark.slow
def test_no_direction_is_in_resonance_with_short_trajectories():
    """The narrow directions have half a period in the mean length, and would come back each time.

    With one length for all draws the effective sample size was 7 % of the draws, with the spread
    42 %; either is known to a tenth.
    """
    data = sltprob.Data({"mode": np.arange(DIMENSION), "y": np.zeros(DIMENSION)}, CURVATURES)
    minimum = 0.5 * np.log(2 * np.pi) * CURVATURES.sum()
    posterior = sltprob.temper(rotated, data, beta=1.0, minimum_loss=minimum)
    run = sltprob.sample(posterior, "hmc", draws=1000, warmup=300)
    assert gradients(run).mean() < 16
    assert loss_ess(run) / 4000 > 0.25


@pytest.mark.slow
def test_a_trajectory_keeps_half_of_the_energy_and_shorter_ones_after_it_do_not():
    """After one trajectory of any length the loss keeps a correlation of 1/2: ESS = draws / 3.

    An effective sample size of 4,000 draws is known to about 7 %; the limits are three times that.
    """
    plain = loss_ess(sample(STIFF, 1, "hmc[num_steps=3000]", draws=1000)) / 4000
    longer = loss_ess(sample(STIFF, 1, "hmc[num_steps=9000]", draws=1000)) / 4000
    assert 0.26 < plain < 0.4
    assert 0.26 < longer < 0.4
    levels = sample(STIFF, 1, draws=1000)
    assert gradients(levels).mean() < 3000 / 4
    assert loss_ess(levels) / 4000 > 0.5


def test_what_is_the_same_in_all_chains_is_not_vectorised():
    def steps(count, value):
        return jax.lax.fori_loop(0, same_in_all_chains(count), lambda _, x: x + 1, value)

    arguments = jnp.full(3, 4), jnp.arange(3)
    np.testing.assert_array_equal(jax.vmap(steps)(*arguments), jnp.arange(3) + 4)
    assert steps(jnp.asarray(4), jnp.asarray(0)) == 4
    # A vectorised loop selects, at every step, between the old and the new state.
    assert "select" not in str(jax.make_jaxpr(jax.vmap(steps))(*arguments))


def test_a_factor_of_the_step_is_uniform_and_knows_nothing_of_the_momentum():
    """Both of one key; p > 1e-6 fails once in a million, and |r| < 5/√n once in 1.7 million."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    factors = np.asarray(jax.vmap(lambda key: scattered_uniform(key, 0.9, 1.1))(keys))
    assert scipy.stats.kstest(factors, scipy.stats.uniform(0.9, 0.2).cdf).pvalue > 1e-6
    momenta = jax.vmap(lambda key: jax.random.normal(jax.random.split(key)[0]))(keys)
    for other in (momenta, momenta**2, np.roll(factors, 1)):
        assert abs(np.corrcoef(factors, other)[0, 1]) < 5 / np.sqrt(len(keys))


@pytest.mark.turns
def test_a_warmup_on_many_data_has_no_longer_trajectories_than_it_must():
    """It took 31 gradients for each draw that a warm-up may have, and takes 13."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(30_000, 3))
    y = x @ [0.3, -0.2, 0.5] + generator.normal(size=len(x))

    def regression(x, y=None):
        slopes = numpyro.sample("slopes", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Normal(x @ slopes, scale), obs=y)

    posterior = sltprob.temper(regression, {"x": x, "y": y}, beta=float(len(x)))
    run = sltprob.sample(posterior, "hmc", draws=400, warmup=500, seed=1)
    assert run.attrs["warmup_gradients"] / (4 * 500) < 20
    least = np.linalg.lstsq(x, y)[0]
    # The posterior is normal, with this width: at 1,600 draws, one false alarm in 5,000.
    width = np.std(y - x @ least) / np.sqrt(len(x))
    found = run["posterior"]["slopes"].mean(("chain", "draw")).values
    assert np.all(np.abs(found - least) < 4 * width / np.sqrt(400))
