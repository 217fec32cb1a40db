"""Is the reparameterised posterior the same posterior, to rounding, at every temperature?"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sltprob
from sltprob import Data, draws, models, reparameterise, temper
from sltprob.cli import main
from sltprob.samplers._point import Point, carry
from sltprob.sampling import compilation
from sltprob.whitening import colour, log_evidence, whiten

MODELS = (
    "tanh_zero[width=3]",
    "tanh_zero[width=40,readout_scale=0.5]",
    "tanh_zero[width=3,n=20]",
    "tanh_zero[width=3,modes=3]",
    "network[width=3,target=unit]",
    "network[width=4,depth=2,activation=gelu,inputs=circle]",
)


def whitened(model, beta, **options):
    return temper(models.get(model), beta=beta, reparameterise="readout", **options)


def positions(posterior, count=3):
    return [posterior.draw_prior(key) for key in jax.random.split(jax.random.key(1), count)]


def regression(beta, units, nodes=10, seed=0):
    """Features of a tanh network and a target that it does not reach."""
    generator = np.random.default_rng(seed)
    x = np.linspace(0.1, 3, nodes)
    roots = np.sqrt(2 * beta * np.exp(-(x**2) / 2))
    b = roots[:, None] * np.tanh(x[:, None] * generator.uniform(-1, 1, units))
    return b, roots * np.tanh(0.7 * x), generator.normal(size=units)


@pytest.mark.parametrize("beta", [1.0, 1e6, 1e12])
@pytest.mark.parametrize("units", [3, 12])
def test_the_map_against_sixty_digits(units, beta):
    """Numbers that are rounded to float64 move the answer by about ε|B|; so may the map."""
    b, t, z = regression(beta, units)
    tolerance = 100 * np.finfo(float).eps * (1 + np.linalg.norm(b))
    with mpmath.workdps(60):
        exact_b, exact_t = mpmath.matrix(b.tolist()), mpmath.matrix(t.tolist())
        inner = mpmath.eye(len(b)) + exact_b * exact_b.T
        inverse = mpmath.inverse(inner)
        residual = inverse * exact_t
        mean = exact_b.T * residual
        evidence = -(mpmath.log(mpmath.det(inner)) + (exact_t.T * residual)[0]) / 2
        slope = np.array((residual * mean.T - inverse * exact_b).tolist(), dtype=float)
        value, gradient = jax.jit(jax.value_and_grad(log_evidence))(b, t)
        scale = 1 + np.linalg.norm(np.array(residual.tolist(), dtype=float))
        np.testing.assert_allclose(value, float(evidence), rtol=1e-13, atol=tolerance * scale)
        np.testing.assert_allclose(gradient, slope, atol=tolerance * scale)
        matrix = jax.jit(jax.jacobian(lambda z: colour(b, t, z)))(z)
        exact_map = mpmath.matrix(np.asarray(matrix).tolist())
        gram = exact_map.T * (mpmath.eye(units) + exact_b.T * exact_b) * exact_map
        gram = np.array(gram.tolist(), dtype=float)
        np.testing.assert_allclose(gram, np.eye(units), atol=tolerance)
        centre = np.array(mean.T.tolist(), dtype=float)[0]
        np.testing.assert_allclose(colour(b, t, 0 * z), centre, atol=tolerance)
    np.testing.assert_allclose(whiten(b, t, colour(b, t, z)), z, atol=tolerance)


@jax.jit
def compare(plain, posterior, position):
    """Pairs of numbers that must agree: with the map, and without it but with its Jacobian."""
    values = posterior.constrain(position)
    other = plain.unconstrain(values)
    matrix = jax.jacobian(lambda z: posterior.constrain({**position, "a_base": z})["a"])
    _, log_jacobian = jnp.linalg.slogdet(matrix(position["a_base"]))
    density = posterior.logdensity(position)
    return (
        (density, plain.logdensity(other) + log_jacobian),
        (posterior.log_prior(position), plain.log_prior(other) + log_jacobian),
        (posterior.loss(position), plain.loss(other)),
        (posterior.loss_from_logdensity(position, density), plain.loss(other)),
        (posterior.unconstrain(values)["a_base"], position["a_base"]),
    )


@pytest.mark.turns
@pytest.mark.parametrize("model", MODELS)
def test_the_density_is_the_same_but_for_the_jacobian(model):
    options = {"localization": 3.0} if "n=20" in model else {}
    hot, hot_whitened = (
        temper(models.get(model), beta=1.0, **options),
        whitened(model, 1.0, **options),
    )
    for beta in (1.0, 1e4, 1e8):
        plain, posterior = hot.at(beta), hot_whitened.at(beta)
        for position in positions(posterior):
            for found, expected in compare(plain, posterior, position):
                np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)


@pytest.mark.turns
@given(log_beta=st.floats(-2, 12), units=st.sampled_from([3, 14]))
def test_colour_and_whiten_are_inverse(log_beta, units):
    b, t, z = regression(10**log_beta, units)
    alpha = jax.jit(colour)(b, t, z)
    np.testing.assert_allclose(jax.jit(whiten)(b, t, alpha), z, rtol=1e-7, atol=1e-7)
    # The energy of the ridge regression is ½|z|² above its least, which is in the evidence.
    energy = 0.5 * (np.sum(np.asarray(alpha) ** 2) + np.sum((t - b @ alpha) ** 2))
    log_determinant = np.sum(np.log1p(np.linalg.svd(b, compute_uv=False) ** 2))
    expected = 0.5 * np.sum(z**2) - float(jax.jit(log_evidence)(b, t)) - 0.5 * log_determinant
    np.testing.assert_allclose(energy, expected, rtol=1e-6)


def test_the_gradient_is_that_of_the_density():
    """Against central differences of the density without the map, which has no shortcut."""
    plain = temper(models.get(MODELS[1]), beta=1e4)
    posterior = whitened(MODELS[1], 1e4)
    (position,) = positions(posterior, 1)

    @jax.jit
    def density(position):
        values = posterior.constrain(position)
        matrix = jax.jacobian(lambda z: posterior.constrain({**position, "a_base": z})["a"])
        log_jacobian = jnp.linalg.slogdet(matrix(position["a_base"]))[1]
        return plain.logdensity(plain.unconstrain(values)) + log_jacobian

    gradient = jax.jit(jax.grad(posterior.logdensity))(position)
    step = 1e-4
    for seed in range(4):
        keys = jax.random.split(jax.random.key(seed), 2)
        way = {
            name: jax.random.normal(key, value.shape)
            for key, (name, value) in zip(keys, position.items(), strict=True)
        }
        ahead = {name: position[name] + step * way[name] for name in way}
        behind = {name: position[name] - step * way[name] for name in way}
        slope = (density(ahead) - density(behind)) / (2 * step)
        expected = sum(jnp.sum(gradient[name] * way[name]) for name in way)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in models.names() if models.get(name).readout()])
def test_what_a_model_says_about_its_readout_is_true(name):
    model = models.get(name)
    readout = model.readout()
    posterior = temper(model, beta=1.0)
    (position,) = positions(posterior, 1)
    values, arguments = posterior.constrain(position), posterior.arguments
    features = readout.features(values, arguments)
    errors = arguments[readout.target] - features @ values[readout.site]
    expected = 0.5 * readout.curvature * posterior.weights @ errors**2
    np.testing.assert_allclose(posterior.loss(position), expected, rtol=1e-12)


def z_score(run, exact):
    result = sltprob.estimate(run)
    return abs(result.value - exact.lambda_hat) / np.hypot(result.mcse, exact.mcse)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "beta"),
    [
        ("tanh_zero[width=3]", 1e2),
        ("tanh_zero[width=3]", 1e6),
        ("network[width=3,target=unit]", 1e3),
        ("network[width=4,activation=gelu,inputs=circle]", 1e4),
        ("tanh_zero", 1e12),
    ],
)
def test_lambda_hat_is_exact_with_the_map(model, beta):
    """False-alarm rate: |z| < 4 fails once in 16,000 comparisons over fresh keys."""
    run = sltprob.sample(whitened(model, beta), "hmc", draws=1000, warmup=200, seed=1)
    exact = models.get(model).exact(beta)
    assert z_score(run, exact) < 4, (sltprob.estimate(run), exact)
    assert sltprob.estimate(run).mcse < 0.1 * exact.lambda_hat


@pytest.mark.slow
def test_a_run_from_the_command_line_is_exact_and_says_how_it_was_made(tmp_path, capsys):
    """False-alarm rate of the comparison: |z| < 4 fails once in 16,000 over fresh keys."""
    path = tmp_path / "run.nc"
    arguments = ["run", "tanh_zero[width=3]", "--beta", "1e4", "--draws", "1000", "--warmup", "200"]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--reparameterise", "readout", "--seed", "1", "--out", str(path)])
    assert left.value.code == 0
    run = draws.load(path)
    assert run.attrs["reparameterise"] == "readout"
    assert z_score(run, models.get("tanh_zero[width=3]").exact(1e4)) < 4
    # What a user sees is a; what was sampled is its base.
    assert set(run["posterior"].data_vars) == {"a", "w"}
    assert list(run["constant_data"]["site"].values) == ["w", "a_base"]
    virial = run["sample_stats"]["virial"].sel(site="a_base").values
    assert abs(virial.mean() - 3) < 0.3
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["run", "two_phase", "--reparameterise", "readout"])
    assert left.value.code == 2
    assert "no site in which its loss is known to be quadratic" in capsys.readouterr().err


@pytest.fixture
def without_determinant(monkeypatch):
    """Break the map, and let JAX forget what it has traced: equal models share that."""
    monkeypatch.setattr(compilation, "programs", {})
    monkeypatch.setattr(reparameterise, "log_evidence", lambda b, t: 0.0 * jnp.sum(b))
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.turns
@pytest.mark.usefixtures("without_determinant")
def test_without_the_log_determinant_the_density_is_another():
    plain = temper(models.get(MODELS[0]), beta=1e4)
    posterior = whitened(MODELS[0], 1e4)
    first, second = (compare(plain, posterior, at)[0] for at in positions(posterior, 2))
    # Not even up to a constant.
    assert abs((first[0] - first[1]) - (second[0] - second[1])) > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("without_determinant")
def test_without_the_log_determinant_lambda_hat_is_wrong():
    """The mutant: z and w are sampled as if the map had a constant volume."""
    run = sltprob.sample(whitened("tanh_zero[width=3]", 1e4), "hmc", draws=1000, warmup=200, seed=1)
    assert z_score(run, models.get("tanh_zero[width=3]").exact(1e4)) > 5


@pytest.mark.turns
def test_minibatches_are_unbiased():
    """The mean over all minibatches of one row is the whole: an identity, not a statistic."""
    posterior = whitened("tanh_zero[width=3,n=20]", 1e3)
    (position,) = positions(posterior, 1)
    rows = [
        {name: value[row : row + 1] for name, value in posterior.arguments.items()}
        for row in range(20)
    ]
    found = [posterior.minibatch_logdensity(position, row) for row in rows]
    np.testing.assert_allclose(np.mean(found), posterior.logdensity(position), rtol=1e-12)


def test_a_sampler_that_needs_the_plain_coordinates_says_so():
    posterior = whitened("tanh_zero[width=3]", 1e2)
    assert sltprob.samplers.get("elliptical_slice").applies_to(posterior) is not None


@pytest.mark.slow
@pytest.mark.parametrize("init", ["optimum", "prior", "given"])
def test_chains_start_where_they_are_told_to(init):
    """From anywhere the chains come to the same answer; |z| < 5 fails once in 1.7 million."""
    posterior = whitened("tanh_zero[width=3]", 1e3)
    given = {"a": np.full((4, 3), 3.0), "w": np.tile([0.1, 0.2, -0.3], (4, 1))}
    start = given if init == "given" else init
    run = sltprob.sample(posterior, "hmc", draws=1000, warmup=200, seed=2, init=start)
    assert z_score(run, models.get("tanh_zero[width=3]").exact(1e3)) < 5


def test_the_optimum_is_the_origin_of_the_base():
    posterior = whitened("tanh_zero[width=3]", 1e6)
    optimum = posterior.unconstrain(models.get("tanh_zero[width=3]").optimum())
    np.testing.assert_array_equal(optimum["a_base"], 0)


def own(x, y=None):
    a = numpyro.sample("a", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(a * x, 1.0), obs=y)


@pytest.mark.parametrize(
    ("model", "data", "word"),
    [
        (own, {"x": np.ones(3), "y": np.ones(3)}, "a program of your own"),
        (models.get("two_phase"), None, "TwoPhase"),
    ],
)
def test_a_loss_that_is_not_known_to_be_quadratic_is_refused(model, data, word):
    with pytest.raises(ValueError, match=f"{word} has no site") as caught:
        temper(model, data, beta=1.0, reparameterise="readout")
    assert "\n" not in str(caught.value)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="it must be 'readout'"):
        temper(models.get("tanh_zero"), beta=1.0, reparameterise="embedding")


def test_weights_enter_the_map():
    """|det A| = det(I/σ² + 2βG)^(-1/2), with G by hand."""
    model = models.get("tanh_zero[width=3]")
    data = Data({"x": np.linspace(0.2, 2, 5), "y": np.ones(5)}, np.arange(1.0, 6) / 15)
    plain = temper(model, data, beta=50.0)
    posterior = temper(model, data, beta=50.0, reparameterise="readout")
    for position in positions(posterior):
        other = plain.unconstrain(posterior.constrain(position))
        gap = posterior.logdensity(position) - plain.logdensity(other)
        precision = jnp.eye(3) + 100 * _gram(model, posterior, position)
        expected = -0.5 * jnp.linalg.slogdet(precision)[1]
        np.testing.assert_allclose(gap, expected, rtol=1e-9)


def _gram(model, posterior, position):
    features = model.readout().features(posterior.constrain(position), posterior.arguments)
    return features.T @ (posterior.weights[:, None] * features)


@pytest.mark.turns
def test_a_ladder_carries_what_is_whitened():
    """To another rung and back: the ratio is that of the densities of the same coordinates."""
    posterior = whitened("tanh_zero[width=3]", 1e3)
    (position,) = positions(posterior, 1)

    @jax.jit
    def there_and_back(posterior, position):
        point = Point.at(posterior, position)
        there, ratio = carry(posterior, point, 1e3, 1e5)
        back, inverse = carry(posterior, there, 1e5, 1e3)
        return point.evaluation(1e3), there.evaluation(1e5), back.evaluation(1e3), ratio, inverse

    here, there, back, ratio, inverse = there_and_back(posterior, position)
    expected = posterior.at(1e5).logdensity(position)
    np.testing.assert_allclose(there.logdensity, expected, rtol=1e-10)
    np.testing.assert_allclose(ratio, expected - posterior.logdensity(position), rtol=1e-10)
    np.testing.assert_allclose(inverse, -ratio, rtol=1e-10)
    gradient = jax.grad(posterior.logdensity)(position)
    for name, expected in gradient.items():
        np.testing.assert_array_equal(there.position[name], position[name])
        np.testing.assert_allclose(here.logdensity_grad[name], expected, rtol=1e-10)
        np.testing.assert_allclose(back.logdensity_grad[name], expected, rtol=1e-10)


def test_temperatures_share_one_compilation():
    hot = whitened("tanh_zero[width=3]", 1.0)
    assert jax.tree.structure(hot) == jax.tree.structure(hot.at(1e4))
