"""Does temper compute the formula, and refuse what it cannot?"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import potential_energy

import sltprob
from sltprob import Data, temper
from sltprob.rao_blackwell import expected_energy


def regression(x, y=None):
    """Constrained priors, a support that depends on another site, several shapes."""
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))
    top = numpyro.sample("top", dist.Gamma(2.0, 1.0))
    slope = numpyro.sample("slope", dist.Uniform(-top, top))
    with numpyro.plate("columns", 3):
        weights = numpyro.sample("weights", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Normal(slope * x[:, 0] + x @ weights, scale), obs=y)


@pytest.fixture
def table():
    generator = np.random.default_rng(1)
    return {"x": generator.normal(size=(20, 3)), "y": generator.normal(size=20)}


def prior_positions(posterior, count):
    return [posterior.draw_prior(key) for key in jax.random.split(jax.random.key(0), count)]


def test_beta_n_is_the_ordinary_posterior(table):
    posterior = temper(regression, table, beta=20)
    for position in prior_positions(posterior, 5):
        expected = -potential_energy(regression, (), table, position)
        np.testing.assert_allclose(posterior.logdensity(position), expected, rtol=1e-12)


def test_only_the_likelihood_is_tempered(table):
    posterior = temper(regression, table, beta=20)
    (position,) = prior_positions(posterior, 1)
    hot = posterior.at(1e-3)
    slope = (posterior.logdensity(position) - hot.logdensity(position)) / (1e-3 - 20)
    np.testing.assert_allclose(slope, posterior.loss(position), rtol=1e-10)
    np.testing.assert_allclose(posterior.log_prior(position), hot.log_prior(position), rtol=0)


def test_weights_are_repetitions(table):
    counts = np.arange(20) % 3
    repeated = {name: np.repeat(value, counts, axis=0) for name, value in table.items()}
    weighted = temper(regression, Data(table, counts / counts.sum()), beta=7.0)
    plain = temper(regression, repeated, beta=7.0)
    (position,) = prior_positions(weighted, 1)
    np.testing.assert_allclose(
        weighted.logdensity(position), plain.logdensity(position), rtol=1e-12
    )


def test_loss_is_recovered_from_the_logdensity(table):
    posterior = temper(regression, table, beta=20)
    (position,) = prior_positions(posterior, 1)
    recovered = posterior.loss_from_logdensity(position, posterior.logdensity(position))
    np.testing.assert_allclose(recovered, posterior.loss(position), rtol=1e-12)


def test_localization_is_a_gaussian_around_the_center(table):
    plain = temper(regression, table, beta=20)
    (position,) = prior_positions(plain, 1)
    values = plain.constrain(position)
    center = {name: np.asarray(value) + 0.5 for name, value in values.items()}
    center["slope"] = np.asarray(values["slope"]) * 0.5
    local = temper(regression, table, beta=20, localization=3.0, center=center)
    distance = sum(float(jnp.sum((values[name] - center[name]) ** 2)) for name in values)
    difference = plain.logdensity(position) - local.logdensity(position)
    np.testing.assert_allclose(difference, 1.5 * distance, rtol=1e-9)


def test_positions_and_values_map_both_ways(table):
    posterior = temper(regression, table, beta=1)
    (position,) = prior_positions(posterior, 1)
    back = posterior.unconstrain(posterior.constrain(position))
    for name, value in position.items():
        np.testing.assert_allclose(back[name], value, rtol=1e-9)


@pytest.mark.turns
def test_minibatch_gradient_is_unbiased(table):
    """False-alarm rate: 5 coordinates at |z| < 5, 3e-6."""
    weights = np.arange(1.0, 21) / 210
    posterior = temper(regression, Data(table, weights), beta=20)
    (position,) = prior_positions(posterior, 1)

    def gradient(key):
        minibatch = posterior.draw_minibatch(key, 4)
        return jax.grad(posterior.minibatch_logdensity)(position, minibatch)

    estimates = jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(1), 20_000))
    full = jax.grad(posterior.logdensity)(position)
    for name, expected in full.items():
        values = np.asarray(estimates[name])
        error = values.std(axis=0) / np.sqrt(len(values))
        assert np.all(np.abs(values.mean(axis=0) - expected) < 5 * error), name


def test_minibatches_are_rows_of_the_data_that_were_given():
    """A model knows a population, but is tempered here on three data: no others are drawn."""
    x = np.array([0.5, 1.5, 2.5])
    posterior = temper(
        sltprob.models.get("tanh_zero[width=2]"), {"x": x, "y": np.zeros(3)}, beta=1.0
    )
    assert set(np.asarray(posterior.draw_minibatch(jax.random.key(0), 64)["x"])) == set(x)
    whole = temper(sltprob.models.get("tanh_zero[width=2]"), beta=1.0)
    assert len(set(np.asarray(whole.draw_minibatch(jax.random.key(0), 64)["x"]))) == 64


def test_data_in_an_inner_plate():
    def outputs(y=None):
        means = numpyro.sample("means", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        with numpyro.plate("outputs", 2, dim=-2), numpyro.plate("rows", 6, dim=-1):
            numpyro.sample("y", dist.Normal(means[:, None], 1.0), obs=y)

    y = np.random.default_rng(0).normal(size=(2, 6))
    weights = np.arange(1.0, 7) / 21
    posterior = temper(outputs, Data({"y": y}, weights), beta=5.0)
    means = jnp.array([0.3, -0.2])
    expected = -(dist.Normal(means[:, None], 1.0).log_prob(y) @ weights).sum()
    np.testing.assert_allclose(posterior.loss({"means": means}), expected, rtol=1e-12)


def scaled(y=None):
    m = numpyro.sample("m", dist.Normal(0.0, 1.0))
    with handlers.scale(scale=2.0):
        numpyro.sample("likelihood", dist.Normal(m, 1.0).expand([4]), obs=y)


def factored(y=None):
    m = numpyro.sample("m", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(m, 1.0).expand([4]), obs=y)
    numpyro.factor("penalty", -(m**2))


def subsampled(y=None):
    m = numpyro.sample("m", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", 4, subsample_size=2):
        numpyro.sample("y", dist.Normal(m, 1.0), obs=numpyro.subsample(y, event_dim=0))


def discrete(y=None):
    label = numpyro.sample("label", dist.Bernoulli(0.5))
    numpyro.sample("y", dist.Normal(1.0 * label, 1.0).expand([4]), obs=y)


def enumerated(y=None):
    label = numpyro.sample("label", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
    numpyro.sample("y", dist.Normal(1.0 * label, 1.0).expand([4]), obs=y)


def parameter(y=None):
    m = numpyro.param("shift", 0.0) + numpyro.sample("m", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(m, 1.0).expand([4]), obs=y)


def unbatched(y=None):
    m = numpyro.sample("m", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(m, 1.0).expand([4]).to_event(1), obs=y)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (scaled, ["'likelihood'", "scale", "Data(arguments, weights=...)"]),
        (factored, ["'penalty'", "factor", "numpyro.sample"]),
        (subsampled, ["'rows'", "2 of 4 rows", "batch_size"]),
        (discrete, ["'label'", "discrete", "MixtureSameFamily"]),
        (enumerated, ["'label'", "enumerated"]),
        (parameter, ["'shift'", "numpyro.sample(name, prior)"]),
        (unbatched, ["'y'", "batch dimension", "plate"]),
    ],
)
def test_what_cannot_be_tempered_is_refused_by_name(program, words):
    with pytest.raises(ValueError, match="cannot be tempered") as caught:
        temper(program, {"y": np.zeros(4)}, beta=1.0)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("beta", [0, -1, np.nan, np.inf, "cold"])
def test_beta_out_of_range_is_refused(table, beta):
    with pytest.raises(ValueError, match="beta="):
        temper(regression, table, beta=beta)


def test_population_weights_and_minimum_of_the_flagship():
    posterior = temper(sltprob.models.get("tanh_zero[width=4]"), beta=1e2)
    assert float(jnp.sum(posterior.weights)) == pytest.approx(1, rel=1e-14)
    assert float(posterior.minimum_loss) == 0
    optimum = posterior.unconstrain(posterior.structure.model.optimum())
    assert float(posterior.loss(optimum)) == 0
    assert posterior.dimensions == {"w": 4, "a": 4}


@pytest.mark.parametrize(
    ("name", "localization"),
    [("tanh_zero[width=3]", 0.0), ("tanh_zero[width=40]", 0.0), ("network[width=3,n=7]", 2.0)],
)
@pytest.mark.parametrize("reparameterise", [None, "readout"])
def test_the_mean_over_the_readout_is_that_of_a_ridge_regression(
    name, localization, reparameterise
):
    """E[βL | w] from the normal equations, whose Hessian and slope autodiff finds."""
    model = sltprob.models.get(name)
    center = model.optimum() if localization else None
    posterior = sltprob.temper(
        model,
        beta=50.0,
        localization=localization,
        center=center,
        reparameterise=reparameterise,
    )
    plain = sltprob.temper(model, beta=50.0, localization=localization, center=center)

    @jax.jit  # one compilation in place of one for each operation
    def both(position):
        values = plain.unconstrain(posterior.constrain(position))

        def at(a):
            return {**values, "a": a}

        zero = jnp.zeros_like(values["a"])
        precision = -jax.hessian(lambda a: plain.logdensity(at(a)))(zero)
        mean = jnp.linalg.solve(precision, jax.grad(lambda a: plain.logdensity(at(a)))(zero))
        curvature = jax.hessian(lambda a: plain.loss(at(a)))(zero)
        spread = 0.5 * jnp.trace(jnp.linalg.solve(precision, curvature))
        return expected_energy(posterior, position), 50.0 * (plain.loss(at(mean)) + spread)

    found, expected = both(posterior.draw_prior(jax.random.key(1)))
    assert float(found) == pytest.approx(float(expected), rel=1e-9)


def test_a_model_without_a_readout_has_no_such_mean():
    posterior = sltprob.temper(sltprob.models.get("normal_crossing"), beta=10.0)
    assert expected_energy(posterior, posterior.draw_prior(jax.random.key(0))) is None
