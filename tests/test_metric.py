"""Does a metric stand for the covariance, is it learned, and does warm-up know when it is done?"""

import functools

import blackjax.mcmc.metrics
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import sltprob
from sltprob import models, samplers
from sltprob.samplers._metric import (
    METRICS,
    empty_moments,
    form_of,
    identity_metric,
    learn_metric,
    metric_of,
    metric_scales,
    update_moments,
)

DIMENSION = 6
ROTATION = scipy.stats.ortho_group.rvs(DIMENSION, random_state=0)
CURVATURES = 10.0 ** np.linspace(-2, 4, DIMENSION)
BETA = 10.0
COVARIANCE = ROTATION @ np.diag(1 / (1 + BETA * CURVATURES)) @ ROTATION.T
EXACT = 0.5 * np.sum(BETA * CURVATURES / (1 + BETA * CURVATURES))


def rotated(mode, y):
    """A Gaussian whose widths differ by 300 in directions that are no coordinates."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([DIMENSION]).to_event(1))
    numpyro.sample("y", dist.Normal((jnp.asarray(ROTATION.T) @ w)[mode], 1.0), obs=y)


def target():
    data = sltprob.Data({"mode": np.arange(DIMENSION), "y": np.zeros(DIMENSION)}, CURVATURES)
    minimum = 0.5 * np.log(2 * np.pi) * np.sum(CURVATURES)
    return sltprob.temper(rotated, data, beta=BETA, minimum_loss=minimum)


def as_matrix(parameters):
    """The inverse mass matrix, from the kinetic energy that BlackJAX makes of it."""
    return np.asarray(_hessian(parameters))


@jax.jit
def _hessian(parameters):
    metric = blackjax.mcmc.metrics.default_metric(metric_of(parameters))
    return jax.hessian(metric.kinetic_energy)(jnp.zeros(DIMENSION))


@functools.partial(jax.jit, static_argnums=(0, 2))
def learned(metric, draws, sites=None):
    """Learn from draws of shape (draw, chain, dimension); `sites` counts coordinates of each."""
    sizes = sites or (draws.shape[-1],)
    before = identity_metric(metric, draws.shape[-1])

    def body(moments, row):
        return update_moments(metric, moments, row), None

    empty = empty_moments(metric, draws.shape[1], draws.shape[2])
    moments, _ = jax.lax.scan(body, empty, jnp.asarray(draws))
    return learn_metric(metric, moments, before, np.repeat(np.arange(len(sizes)), sizes))


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_learned_from_draws(metric):
    """Eigenvalues of the metric in units of the covariance; 4,000 draws know them to 5 %."""
    generator = np.random.default_rng(0)
    draws = generator.multivariate_normal(np.ones(DIMENSION), COVARIANCE, (1000, 4))
    found = learned(metric, draws)
    np.testing.assert_allclose(np.diagonal(as_matrix(found)), metric_scales(found), rtol=1e-10)
    if metric != "low_rank":
        np.testing.assert_allclose(metric_scales(found), np.diagonal(COVARIANCE), rtol=0.2)
    if metric != "diagonal":
        values = scipy.linalg.eigvals(as_matrix(found), COVARIANCE).real
        # BlackJAX leaves directions alone that differ by less than a factor of two. Shrinkage by
        # 5 draws adds to those that are thinner than the coordinates' widths.
        assert np.all(values > 0.5)
        thin = 5 / 4005 * np.max(np.diagonal(COVARIANCE)) * (1 + BETA * CURVATURES.max())
        assert np.all(values < 2.5 + thin)


def test_momenta_of_a_dense_metric_have_its_inverse_as_covariance():
    """The factor that is kept is a root of the inverse; z of 36 entries, |z| < 6 for all.

    A false alarm is one in ten million.
    """
    draws = np.random.default_rng(3).multivariate_normal(np.zeros(DIMENSION), COVARIANCE, (500, 4))
    found = learned("dense", draws)
    root, matrix = (np.asarray(found[n]) for n in ("momentum_factor", "inverse_mass_matrix"))
    np.testing.assert_allclose(root.T @ matrix @ root, np.eye(DIMENSION), atol=1e-9)
    metric = blackjax.mcmc.metrics.default_metric(metric_of(found))
    keys = jax.random.split(jax.random.key(0), 20_000)
    momenta = jax.vmap(lambda key: metric.sample_momentum(key, jnp.zeros(DIMENSION)))(keys)
    whitened = np.asarray(momenta) @ np.linalg.inv(root).T
    error = whitened.T @ whitened / len(keys) - np.eye(DIMENSION)
    assert np.max(np.abs(error)) < 6 * np.sqrt(2 / len(keys))


@pytest.mark.parametrize("metric", METRICS)
def test_a_coordinate_that_did_not_move_keeps_its_scale(metric):
    draws = np.random.default_rng(1).normal(size=(50, 2, 3)) * np.array([1.0, 0.0, 1e-9])
    scales = metric_scales(learned(metric, draws))
    assert scales[1] == 1
    np.testing.assert_allclose(scales[2], 1e-18, rtol=0.7)


@given(log_scale=st.floats(-12, 6), metric=st.sampled_from(METRICS))
def test_a_metric_follows_the_units(log_scale, metric):
    """No scale is built in: draws in other units give the same metric in those units."""
    draws = np.random.default_rng(2).multivariate_normal(np.zeros(DIMENSION), COVARIANCE, (40, 3))
    plain, scaled = learned(metric, draws), learned(metric, draws * 10**log_scale)
    np.testing.assert_allclose(
        as_matrix(scaled) / 10 ** (2 * log_scale), as_matrix(plain), rtol=1e-6, atol=1e-9
    )


def stuck(widths, chains=4, draws=50, moved=0.03, seed=4):
    """Chains that start at random with these widths, and then hardly move."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(draws, chains, len(widths)))
    starts = generator.normal(size=(chains, len(widths)))
    return (starts + moved * steps) * widths


@pytest.mark.parametrize("metric", METRICS)
def test_chains_that_do_not_mix_tell_the_width_by_their_distance(metric):
    """Logarithms of 64 variances by 3 degrees of freedom have a mean that is known to 12 %."""
    found = metric_scales(learned(metric, stuck(np.full(64, 7.0))))
    # One number for almost all: what differs is explained by so few chains.
    np.testing.assert_allclose(found / 49, 1, rtol=0.5)


@pytest.mark.parametrize("metric", ["dense", "low_rank"])
def test_chains_that_differ_do_not_blur_thin_directions(metric):
    """Means of chains differ by 0.3 widths: the correlations within the chains still hold."""
    generator = np.random.default_rng(6)
    draws = generator.multivariate_normal(np.zeros(DIMENSION), COVARIANCE, (1000, 4))
    draws += 0.3 * generator.multivariate_normal(np.zeros(DIMENSION), COVARIANCE, (1, 4))
    thinnest = ROTATION[:, -1]
    found = thinnest @ as_matrix(learned(metric, draws)) @ thinnest
    # Shrinkage by 5 draws leaves no direction thinner than 5/4000 of the coordinates' widths.
    assert found < 3 * 5 / 4000 * np.max(np.diagonal(COVARIANCE))


@pytest.mark.parametrize("metric", METRICS)
def test_only_coordinates_of_one_site_share_a_scale(metric):
    widths = np.repeat([7.0, 0.01], 32)
    found = metric_scales(learned(metric, stuck(widths), (32, 32)))
    np.testing.assert_allclose(found / widths**2, 1, rtol=0.6)


@pytest.mark.parametrize("metric", METRICS)
def test_widths_that_differ_by_more_than_chance_are_kept(metric):
    """Chains that mix know every width, and of those that do not the differences are kept."""
    widths = 10.0 ** np.linspace(-3, 3, 64)
    mixed = np.random.default_rng(5).normal(size=(200, 4, 64)) * widths
    np.testing.assert_allclose(metric_scales(learned(metric, mixed)) / widths**2, 1, rtol=0.5)
    found = np.log10(metric_scales(learned(metric, stuck(widths))))
    slope = np.polyfit(2 * np.log10(widths), found, 1)[0]
    assert 0.85 < slope < 1.1


def test_one_chain_learns_from_itself():
    draws = stuck(np.full(16, 7.0), chains=1)
    found = metric_scales(learned("diagonal", draws))
    np.testing.assert_allclose(found, np.var(draws[:, 0], axis=0, ddof=1), rtol=1e-10)


def z_score(run, exact):
    result = sltprob.estimate(run)
    return abs(result.value - exact) / result.mcse


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["hmc", "nuts", "dynamic_hmc"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_gives_the_same_answer(sampler, metric):
    """False-alarm rate: |z| < 5 fails once in 1.7 million comparisons over fresh keys."""
    run = sltprob.sample(target(), f"{sampler}[metric={metric}]", draws=1000, warmup=400, seed=1)
    assert z_score(run, EXACT) < 5
    assert sltprob.diagnose(run).trusted, str(sltprob.diagnose(run))


@pytest.mark.slow
def test_correlations_shorten_the_trajectories():
    """A diagonal metric has to follow the widest direction with steps for the thinnest."""
    cost = {}
    for metric in METRICS:
        run = sltprob.sample(target(), f"nuts[metric={metric}]", draws=500, warmup=400, seed=1)
        cost[metric] = float(run["sample_stats"]["num_gradients"].mean())
    assert cost["dense"] < 0.2 * cost["diagonal"]
    assert cost["low_rank"] < 0.2 * cost["diagonal"]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["hmc", "nuts", "dynamic_hmc", "adjusted_mclmc"])
def test_a_step_size_is_taken_as_given_and_judged(sampler):
    model = models.get("regular[spectrum=1:0.1:10]")
    posterior = sltprob.temper(model, beta=10)
    bad = sltprob.sample(posterior, f"{sampler}[step_size=50]", draws=200, warmup=100)
    assert float(bad["constant_data"]["step_size"]) == 50
    assert not sltprob.diagnose(bad).trusted


@pytest.mark.turns
def test_warmup_measures_itself_and_ends_when_it_has_settled():
    """A Gaussian settles before 1,000 draws; the rest is not made, and not stored."""
    posterior = sltprob.temper(models.get("regular[dimension=2]"), beta=10)
    options = {"draws": 50, "warmup": 1000, "chains": 4}
    run = sltprob.sample(posterior, "hmc", **options)
    used = int(run["constant_data"]["warmup_draws_used"])
    assert 25 <= used < 1000
    assert run["warmup_sample_stats"].sizes["draw"] == used
    assert np.all(np.isfinite(run["warmup_sample_stats"]["loss"]))
    assert float(run["constant_data"]["warmup_rhat"]) < 1.05
    assert run.attrs["warmup"] == 1000


@pytest.mark.parametrize(
    "text",
    ["hmc[metric=full]", "nuts[metric=full]", "dynamic_hmc[step_size=0]", "hmc[step_size=-1]"],
)
def test_options_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match="it must be"):
        samplers.get(text)


def logistic(x, y):
    w = numpyro.sample("w", dist.Normal(0.0, 5.0).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ w), obs=y)


def regression(dimension, rows=200):
    """Make predictors that share almost all of their variance."""
    generator = np.random.default_rng(0)
    x = 0.1 * generator.normal(size=(rows, dimension)) + generator.normal(size=(rows, 1))
    y = (generator.uniform(size=rows) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
    return sltprob.temper(logistic, {"x": x, "y": y}, beta=rows, minimum_loss=0.0)


def test_a_metric_is_dense_where_that_is_cheap_beside_a_gradient():
    assert form_of("auto", regression(20)) == "dense"
    assert form_of("auto", regression(4)) == "diagonal"  # a gradient takes no time
    assert form_of("auto", regression(65)) == "diagonal"  # too many correlations
    assert form_of("auto", regression(64, rows=50)) == "diagonal"
    for text in ("tanh_zero", "tanh_zero[width=32]", "network", "regular[dimension=50]"):
        assert form_of("auto", sltprob.temper(models.get(text), beta=10.0)) == "diagonal"
    for metric in METRICS:
        assert form_of(metric, regression(20)) == metric


@pytest.mark.turns
def test_correlated_coordinates_cost_a_default_run_no_more_than_others():
    """Precisions from 2 to 10,001 in 50 directions that are no coordinates.

    A diagonal metric took 76 gradients a draw. False-alarm rate: |z| < 5 fails once in 1.7 million.
    """
    curvatures = np.logspace(-4, 0, 50)
    directions = scipy.stats.ortho_group.rvs(50, random_state=0)

    def program(mode, y):
        w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand([50]).to_event(1))
        numpyro.sample("y", dist.Normal((jnp.asarray(directions.T) @ w)[mode], 1.0), obs=y)

    data = sltprob.Data({"mode": np.arange(50), "y": np.zeros(50)}, curvatures)
    minimum = 0.5 * np.log(2 * np.pi) * np.sum(curvatures)
    run = sltprob.sample(sltprob.temper(program, data, beta=1e4, minimum_loss=minimum), "hmc")
    assert run.attrs["metric"] == "dense"
    assert float(run["sample_stats"]["num_gradients"].mean()) < 15
    assert z_score(run, 0.5 * np.sum(1e4 * curvatures / (1 + 1e4 * curvatures))) < 5
