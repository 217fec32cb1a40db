"""The contract that every model keeps, and the exact answers against independent methods."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate

from sltprob import models, sample, temper
from sltprob.estimation import estimate
from sltprob.models import _linear
from sltprob.models._gibbs import block_gibbs
from sltprob.models._gibbs_large import block_gibbs_large
from sltprob.models._integrals import Well, log_trapezoid, mellin_barnes, wells
from sltprob.models._wishart import product_of_two

# Each density is evaluated a few times only, and most of the time is compilation.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# Beside the defaults of every name: options that take another path through a model.
VARIANTS = [
    "normal_crossing[powers=1:2,prior_powers=0:2,prior=normal,coefficient=0.5]",
    "even_powers[powers=2:3,prior=box[2]]",
    "airy[slope=-1]",
    "reduced_rank[input=2,hidden=2,output=3,rank=1,prior_scale=0.5]",
    "deep_linear[widths=3:2:4,rank=1,prior_center=optimum]",
    "gaussian_mixture[components=3,true_components=2]",
]
SPECIFICATIONS = [*models.names(), *VARIANTS]

# λ̂ at β, from an independent implementation of each formula; absolute tolerance.
DECADES = (10.0, 100.0, 1e3, 1e4, 1e6)
GAUSSIAN_DECADES = (10.0, 100.0, 1e4, 1e6)
CURVES = [
    (
        "regular[spectrum=1:0.1:10]",
        DECADES,
        (1.1995949595, 1.449095459, 1.4945000095, 1.4994455045, 1.4999944501),
        1e-9,
    ),
    (
        "regular[dimension=10,spectrum=powers[10]]",
        DECADES,
        (0.7555055455, 1.2505550454, 1.750055495, 2.250005, 3.249944505),
        1e-9,
    ),
    ("normal_crossing[powers=2]", DECADES, (0.2499777323, 0.25, 0.25, 0.25, 0.25), 1e-9),
    (
        "normal_crossing[powers=3,prior_powers=2]",
        DECADES,
        (0.4999190003, 0.5, 0.5, 0.5, 0.5),
        1e-9,
    ),
    (
        "normal_crossing[powers=1:2]",
        DECADES,
        (0.1552149543, 0.2042839427, 0.226196978, 0.23715004, 0.2460744523),
        1e-9,
    ),
    (
        "normal_crossing[powers=1:1:1]",
        DECADES,
        (0.1311897955, 0.2267738127, 0.2878554329, 0.327816115, 0.3757128266),
        1e-9,
    ),
    (
        "normal_crossing[prior=normal,coefficient=0.5]",
        DECADES,
        (0.2625802345, 0.3387677771, 0.3813437045, 0.4066766862, 0.4347164527),
        1e-9,
    ),
    (
        "normal_crossing[powers=2:2,prior=normal]",
        DECADES,
        (0.1225368486, 0.1471347565, 0.1652376005, 0.1785177929, 0.1960099069),
        1e-9,
    ),
    ("even_powers", DECADES, (11 / 12,) * 5, 1e-12),
    (
        "even_powers[prior=box[1]]",
        DECADES,
        (0.9165514276, 0.9166666667, 0.9166666667, 0.9166666667, 0.9166666667),
        1e-9,
    ),
    (
        "airy",
        DECADES,
        (0.3555424697, 0.4307166854, 0.6815861681, 0.9691594849, 0.9999960002),
        1e-9,
    ),
    (
        "pearcey",
        DECADES,
        (0.2552768022, 0.2662395599, 0.2972256073, 0.3669799792, 0.4930359633),
        1e-9,
    ),
    (
        "pearcey[quadratic=-1]",
        (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3),
        (
            0.2141202883,
            0.2395506759,
            0.3642337348,
            0.5715927299,
            0.5378651288,
            0.508189876,
            0.5007560755,
        ),
        1e-9,
    ),
    (
        "cusp",
        (*DECADES, 1e8),
        # The last one: 30 digits from parabolic cylinder functions.
        (0.3264871953, 0.3570274981, 0.3740570361, 0.3847584161, 0.3974183626, 0.4044645875),
        1e-9,
    ),
    (
        "radial",
        DECADES,
        (0.6939922262, 0.7317597244, 0.7441776973, 0.748153362, 0.7498151082),
        1e-9,
    ),
    (
        "scalar_product[size=1]",
        DECADES,
        (0.2902743221, 0.3542038285, 0.3902726631, 0.4123371428, 0.4375426102),
        1e-9,
    ),
    (
        "scalar_product[size=5]",
        DECADES,
        (0.4887541663, 0.4987726386, 0.4998753331, 0.4999875044, 0.499999875),
        1e-9,
    ),
    (
        "two_phase",
        (10.0, 100.0, 1e3, 3e3, 1e4, 3e4, 1e5),
        (0.2287097367, 0.2873916699, 1.0999048144, 2.198343803, 0.5230397291, 0.5000000002, 0.5),
        1e-9,
    ),
    (
        "reduced_rank[input=1,hidden=1,output=1]",
        GAUSSIAN_DECADES,
        (0.2625802345, 0.3387677771, 0.4066766862, 0.4347164527),
        1e-9,
    ),
    (
        "reduced_rank[input=1,hidden=1,output=1,rank=1]",
        DECADES,
        (0.6674576846, 0.5124006384, 0.5012172094, 0.5001215051, 0.5000012148),
        1e-9,
    ),
    (
        "reduced_rank[input=2,hidden=2,output=2]",
        GAUSSIAN_DECADES,
        (1.1550257036, 1.3563260463, 1.4768707576, 1.4966120808),
        1e-9,
    ),
    (
        "reduced_rank[input=2,hidden=2,output=3]",
        GAUSSIAN_DECADES,
        (1.4934727618, 1.7234772685, 1.8742361498, 1.9202895943),
        1e-9,
    ),
    (
        "reduced_rank[input=1,hidden=2,output=3]",
        GAUSSIAN_DECADES,
        (0.8219307064, 0.9394363303, 0.9937548452, 0.9993735575),
        1e-9,
    ),
    ("reduced_rank", (10.0, 100.0, 1e4), (2.7354146441, 3.1143385573, 3.3484122026), 1e-9),
    (
        "deep_linear[widths=1:2:2]",
        GAUSSIAN_DECADES,
        (0.6645589339, 0.7944641596, 0.8928319548, 0.9282204604),
        1e-9,
    ),
    (
        "deep_linear[widths=1:2:3:2]",
        GAUSSIAN_DECADES,
        (0.6451340708, 0.7666495533, 0.8782214152, 0.921160791),
        1e-9,
    ),
    (
        "deep_linear[widths=1:2:2:2]",
        GAUSSIAN_DECADES,
        (0.5472555623, 0.6723018221, 0.802705156, 0.8622184805),
        1e-9,
    ),
    (
        "deep_linear[widths=1:1:1:1:1]",
        GAUSSIAN_DECADES,
        (0.1204452765, 0.1786780987, 0.2677939218, 0.3234438977),
        1e-9,
    ),
    (
        "gaussian_mixture[anchored=true]",
        (10.0, 100.0, 1e3, 1e4, 1e6, 1e8),
        (0.259006, 0.345085, 0.381524, 0.404338, 0.432531, 0.448399),
        1e-6,
    ),
]
SAMPLED_CURVES = [  # λ̂ by a block Gibbs sampler of its own, in long double
    ("2:2:2:2", 0, (1e4, 1e8, 1e12, 1e16), (1.2757, 1.3935, 1.4302, 1.4481)),
    ("3:2:2:3", 0, (1e4, 1e8, 1e12, 1e16), (1.7642, 1.8846, 1.9246, 1.9435)),
    ("3:3:3", 1, (1e4, 1e8, 1e12), (3.9672, 3.999, 3.9983)),
    ("2:2:2:2", 1, (1e4, 1e8, 1e12), (1.8182, 1.8992, 1.9315)),
    ("2:3:2", 2, (1e4, 1e8), (2.0005, 2.0006)),
    ("4:2:4", 1, (1e4, 1e8, 1e12), (4.8731, 4.9393, 4.9594)),
    ("3:3:3:3", 0, (1e4, 1e8, 1e12), (2.8662, 2.9932, 3.001)),
]
LIMITS = [  # λ, m
    ("regular[spectrum=1:0.1:10]", "3/2", 1),
    ("normal_crossing[powers=1:2]", "1/4", 1),
    ("normal_crossing[powers=1:1:1]", "1/2", 3),
    ("normal_crossing[powers=2:2,prior=normal]", "1/4", 2),
    ("normal_crossing[powers=3:1,prior_powers=1:1]", "1/3", 1),
    ("even_powers[prior=box[1]]", "11/12", 1),
    ("airy", "1", 1),
    ("airy[slope=0]", "1/3", 1),
    ("airy[slope=-0.5]", "1/2", 1),
    ("pearcey", "1/2", 1),
    ("pearcey[quadratic=0]", "1/4", 1),
    ("pearcey[quadratic=-1]", "1/2", 1),
    ("pearcey[quadratic=-3,linear=2]", "1/2", 1),
    ("pearcey[quadratic=0.5,linear=-2]", "1/2", 1),
    ("cusp", "5/12", 1),
    ("cusp[power=2]", "1/2", 2),
    ("cusp[power=4]", "3/8", 1),
    ("radial", "3/4", 1),
    ("scalar_product[size=1]", "1/2", 2),
    ("scalar_product", "1/2", 1),
    ("two_phase", "1/2", 1),
    ("two_phase[dimension=3]", "3/2", 1),
    ("reduced_rank", "7/2", 2),
    ("reduced_rank[input=2,hidden=2,output=2]", "3/2", 1),
    ("reduced_rank[input=1,hidden=1,output=1,rank=1]", "1/2", 1),
    ("deep_linear[widths=1:2:2:2]", "1", 3),
    ("deep_linear[widths=3:1:4]", "3/2", 1),
    ("gaussian_mixture[anchored=true]", "1/2", 2),
]


# --- the contract


@pytest.mark.parametrize("text", SPECIFICATIONS)
def test_contract(text):
    model = models.get(text)
    assert models.get(models.specification(model)) == model
    assert hash(model) == hash(models.get(text))

    posterior = temper(model, beta=10.0)
    assert float(posterior.data_error) < 1e-10

    optimum = model.optimum()

    # One compilation for everything: op by op it would cost seconds for every model.
    @quick
    def evaluate(keys):
        def one(key):
            position = posterior.draw_prior(key)
            again = posterior.unconstrain(posterior.constrain(position))
            density = jax.value_and_grad(posterior.logdensity)(position)
            return position, again, density, posterior.loss(position)

        best = posterior.loss(posterior.unconstrain(optimum))
        return jax.vmap(one)(keys), best

    found, best = evaluate(jax.random.split(jax.random.PRNGKey(1), 5))
    positions, again, (logdensity, gradient), loss = found
    assert np.all(np.isfinite(logdensity))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    assert np.all(loss >= model.minimum_loss - 1e-12)
    # Transforms are invertible: back to where the draw came from.
    for name, value in again.items():
        np.testing.assert_allclose(value, positions[name], rtol=1e-8, atol=1e-8)
    # The optimum attains L*.
    assert float(best) == pytest.approx(model.minimum_loss, abs=1e-12)

    truth = model.truth()
    assert truth.source
    if truth.learning_coefficient is None:
        assert truth.status == "none" or truth.multiplicity is None
    else:
        assert truth.learning_coefficient > 0
        # λ <= d/2 inside the support of the prior; not where |w| has a corner, or at a wall.
        if text not in ("airy",):
            assert truth.learning_coefficient <= posterior.dimension / 2


# --- exact answers against tables


@pytest.mark.parametrize(("text", "betas", "values", "tolerance"), CURVES)
def test_exact_agrees_with_table(text, betas, values, tolerance):
    model = models.get(text)
    for beta, value in zip(betas, values, strict=True):
        exact = model.exact(beta)
        assert exact.beta == beta
        assert exact.lambda_hat == pytest.approx(value, abs=tolerance)
        assert 0 <= exact.mcse < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("widths", "rank", "betas", "values"), SAMPLED_CURVES)
def test_block_gibbs_agrees_with_table(widths, rank, betas, values):
    model = models.get(f"deep_linear[widths={widths},rank={rank}]")
    for beta, value in zip(betas, values, strict=True):
        exact = model.exact(beta, tolerance=1e-3)
        assert exact.lambda_hat == pytest.approx(value, abs=0.008 + 4 * exact.mcse)


@pytest.mark.slow
def test_prior_around_the_truth():
    # Block Gibbs of another author, 10-10-10 with rank 3 around the deepest true point.
    model = models.get("reduced_rank[input=10,hidden=10,output=10,rank=3,prior_center=optimum]")
    betas = (144.8, 1e3, 1e4, 1e5, 1e6)
    for beta, value in zip(betas, (42.14, 43.17, 43.61, 43.79, 43.87), strict=True):
        exact = model.exact(beta, tolerance=1e-3)
        assert exact.lambda_hat == pytest.approx(value, abs=0.1)


@pytest.mark.slow
def test_two_component_mixture_agrees_with_table():
    model = models.get("gaussian_mixture")
    values = (0.547772, 0.681489, 0.71216, 0.725364, 0.740659, 0.746905)
    for beta, value in zip((10.0, 100.0, 1e3, 1e4, 1e6, 1e8), values, strict=True):
        exact = model.exact(beta)
        assert exact.lambda_hat == pytest.approx(value, abs=1e-4)
        assert exact.mcse < 0.01


# --- exact answers against special functions, over the whole range of β

WIDE = (1e-1, 1.0, 30.0, 1e3, 1e6, 1e9, 1e12)


def _incomplete_gamma(beta):
    s = mpmath.mpf(1) / 6
    lower = mpmath.gammainc(s, 0, beta)
    return s - beta**s * mpmath.exp(-beta) / lower, -mpmath.log(s * beta**-s * lower)


def _bessel(beta):
    x = 1 / (4 * beta)
    k0 = mpmath.besselk(0, x)
    z = mpmath.sqrt(2 * x / mpmath.pi) * mpmath.exp(x) * k0
    return 0.5 + x - x * mpmath.besselk(1, x) / k0, -mpmath.log(z)


def _tricomi(beta):
    a, x = mpmath.mpf(5) / 2, 1 / (4 * beta)
    u = mpmath.hyperu(a, a + 0.5, x)
    # d log U / d log x = -a x U(a+1, b+1, x)/U(a, b, x).
    value = a - a * x * mpmath.hyperu(a + 1, a + 1.5, x) / u
    return value, -mpmath.log(x**a * u)


def _scorer(beta):
    z = -0.01 * beta ** (mpmath.mpf(2) / 3)
    step = mpmath.mpf(10) ** -12
    change = (mpmath.scorerhi(z * (1 + step)) - mpmath.scorerhi(z * (1 - step))) / (2 * step)
    return mpmath.mpf(1) / 3 - mpmath.mpf(2) / 3 * change / mpmath.scorerhi(z), None


def _quarter_bessel(beta):
    y = beta * mpmath.mpf(0.01) ** 2 / 8
    k = mpmath.besselk(0.25, y)
    return -y * (1 - (mpmath.besselk(0.75, y) + mpmath.besselk(1.25, y)) / (2 * k)), None


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("normal_crossing[powers=3]", _incomplete_gamma),
        ("even_powers[powers=6,prior=box[1]]", _incomplete_gamma),
        ("normal_crossing[prior=normal,coefficient=0.5]", _bessel),
        ("reduced_rank[input=1,hidden=1,output=1]", _bessel),
        ("scalar_product[size=5]", _tricomi),
        ("airy", _scorer),
        ("pearcey", _quarter_bessel),
    ],
)
def test_exact_agrees_with_special_function(text, formula):
    model = models.get(text)
    with mpmath.workdps(40):
        for beta in WIDE:
            if formula is _scorer and beta > 1e6:
                continue  # mpmath sums a series of 10^4 digits there
            exact = model.exact(beta)
            value, free_energy = formula(mpmath.mpf(beta))
            assert exact.lambda_hat == pytest.approx(float(value), abs=1e-11)
            if free_energy is None:
                assert math.isnan(exact.free_energy)
                assert "improper" in exact.method
            else:
                assert exact.free_energy == pytest.approx(float(free_energy), abs=1e-10)


@pytest.mark.parametrize(
    ("one", "other", "tolerance"),
    [
        # (w1² - w2²)² is 4 a² b² in coordinates at 45 degrees.
        ("cusp[power=2]", "normal_crossing[prior=normal,coefficient=4]", 1e-10),
        ("scalar_product[size=1]", "normal_crossing[prior=normal]", 1e-12),
        ("radial[dimension=1,power=3]", "normal_crossing[powers=3,prior=normal]", 1e-12),
        ("reduced_rank[input=4,hidden=3,output=2]", "deep_linear[widths=2:3:4]", 1e-11),
        ("deep_linear[widths=3:1:4]", "deep_linear[widths=4:1:3]", 1e-12),
        ("reduced_rank[input=3,hidden=1,output=2]", "deep_linear[widths=1:2:3]", 1e-12),
        ("deep_linear[widths=1:3:2,rank=1]", "deep_linear[widths=2:3:1,rank=1]", 1e-12),
        ("deep_linear[widths=5:2]", "regular[dimension=10]", 1e-12),
    ],
)
def test_two_models_of_one_posterior(one, other, tolerance):
    for beta in WIDE:
        left, right = models.get(one).exact(beta), models.get(other).exact(beta)
        assert left.lambda_hat == pytest.approx(right.lambda_hat, abs=tolerance)
        assert left.free_energy == pytest.approx(right.free_energy, abs=1e-9)


# --- exact answers against the program itself


@pytest.mark.parametrize(
    ("text", "beta", "reach", "points", "tolerance"),
    [
        ("normal_crossing[powers=2]", 30.0, 45, 2000, 1e-9),
        ("normal_crossing[powers=2,prior_powers=2]", 30.0, 45, 2000, 1e-9),
        ("normal_crossing[powers=1,prior_powers=2,prior=normal]", 30.0, 9, 4000, 1e-9),
        ("even_powers[powers=4]", 30.0, 4, 2000, 1e-9),
        ("pearcey[quadratic=-1,linear=0.1]", 20.0, 4, 2000, 1e-9),
        ("pearcey[quadratic=-3,linear=2]", 3.0, 5, 2000, 1e-9),
        ("pearcey[quadratic=0.5,linear=-2]", 10.0, 4, 2000, 1e-9),
        ("airy", 50.0, 60, 8000, 1e-9),
        ("airy[slope=-1]", 50.0, 60, 8000, 1e-9),
        ("two_phase", 1e3, 40, 200_001, 1e-4),
        ("normal_crossing[powers=1:2,prior_powers=0:2]", 10.0, 40, 500, 1e-9),
        ("scalar_product[size=1]", 30.0, 9, 600, 1e-9),
        ("cusp", 30.0, 7, 600, 1e-9),
        ("cusp[power=4]", 3.0, 7, 600, 1e-9),
        ("radial[dimension=2,power=1]", 10.0, 7, 300, 1e-9),
        ("reduced_rank[input=1,hidden=1,output=1,rank=1,prior_scale=2]", 5.0, 17, 900, 1e-9),
        ("gaussian_mixture[anchored=true]", 30.0, 14, 200, 2e-5),
        ("radial[dimension=3,power=2]", 2.0, 6, 60, 1e-7),
        ("even_powers[powers=2:4:2,prior=box[1]]", 3.0, 25, 80, 1e-4),
    ],
)
def test_exact_agrees_with_brute_force(text, beta, reach, points, tolerance):
    """Sum over a grid of the unconstrained coordinates of the very density that is sampled."""
    model = models.get(text)
    posterior = temper(model, beta=beta)
    axis = np.linspace(-reach, reach, points)
    grids = jnp.meshgrid(*[axis] * posterior.dimension, indexing="ij")
    flat = jnp.stack([grid.ravel() for grid in grids], axis=-1)

    def unpack(row):
        position, start = {}, 0
        for name, shape in posterior.structure.shapes:
            size = math.prod(shape)
            position[name] = row[start : start + size].reshape(shape)
            start += size
        return position

    @quick
    def evaluate(rows):
        def one(row):
            position = unpack(row)
            return posterior.log_prior(position), posterior.loss(position)

        return jax.lax.map(one, rows, batch_size=2000)

    log_prior, loss = (np.asarray(part) for part in evaluate(flat))
    energy = beta * (loss - model.minimum_loss)
    terms = np.exp(log_prior - energy)
    exact = model.exact(beta)
    assert exact.lambda_hat == pytest.approx(
        np.sum(terms * np.where(terms > 0, energy, 0)) / np.sum(terms), abs=tolerance
    )
    if math.isfinite(exact.free_energy):
        free_energy = -math.log(np.sum(terms) * (axis[1] - axis[0]) ** posterior.dimension)
        assert exact.free_energy == pytest.approx(free_energy, abs=10 * tolerance)


@pytest.mark.parametrize(
    ("text", "beta"),
    [
        ("regular[n=20,dimension=4]", 3.0),
        pytest.param(
            "normal_crossing[powers=1:1:2,prior_powers=1:0:2]", 10.0, marks=pytest.mark.slow
        ),
        pytest.param("radial[dimension=5,power=2]", 0.02, marks=pytest.mark.slow),
        ("normal_crossing[powers=1:2,prior_powers=0:3,prior=normal]", 0.3),
        ("two_phase[dimension=2]", 5.0),
        ("cusp[power=5]", 1.0),
        pytest.param("reduced_rank", 0.3, marks=pytest.mark.slow),
        pytest.param("reduced_rank[rank=1,prior_scale=0.5]", 3.0, marks=pytest.mark.slow),
        ("reduced_rank[rank=1,prior_scale=0.5,prior_center=optimum]", 3.0),
        pytest.param("reduced_rank[input=2,hidden=3,output=1,rank=1]", 1.0, marks=pytest.mark.slow),
        ("deep_linear[widths=2:3:2:2,rank=1,prior_scale=0.7]", 1.0),
        pytest.param("deep_linear[widths=3:2:1:2]", 1.0, marks=pytest.mark.slow),
        pytest.param("gaussian_mixture[anchored=true,mean_scale=1.5]", 3.0, marks=pytest.mark.slow),
    ],
)
def test_exact_agrees_with_prior_draws(text, beta):
    """Weigh draws from the prior: noisy, and free of any assumption about the model."""
    model = models.get(text)
    posterior = temper(model, beta=beta)
    count = 20_000

    @quick
    def losses(keys):
        return jax.lax.map(
            lambda key: posterior.loss(posterior.draw_prior(key)), keys, batch_size=2000
        )

    loss = np.asarray(losses(jax.random.split(jax.random.PRNGKey(7), count)))
    energy = beta * (loss - float(posterior.minimum_loss))
    weights = np.exp(-energy)
    mean = float(np.sum(weights * energy) / np.sum(weights))
    error = float(np.sqrt(np.sum((weights * (energy - mean)) ** 2))) / float(np.sum(weights))
    exact = model.exact(beta, tolerance=2e-3)
    assert abs(exact.lambda_hat - mean) < 4.5 * math.hypot(error, exact.mcse)
    if math.isfinite(exact.free_energy):
        free_energy = -math.log(np.mean(weights)) + beta * float(posterior.minimum_loss)
        spread = float(np.std(weights)) / float(np.mean(weights)) / math.sqrt(count)
        assert abs(exact.free_energy - free_energy) < 4.5 * spread


@pytest.mark.slow
@pytest.mark.parametrize("components", [2])
def test_mixture_agrees_with_prior_draws(components):
    test_exact_agrees_with_prior_draws(f"gaussian_mixture[components={components}]", 10.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "beta"),
    [
        ("regular", 100.0),
        ("scalar_product", 30.0),
        ("cusp", 10.0),
        ("even_powers[powers=2:4]", 100.0),
        ("airy", 100.0),
        ("reduced_rank[input=2,hidden=2,output=2]", 100.0),
        ("reduced_rank[rank=1]", 100.0),
        ("deep_linear[widths=2:2:2:2,rank=1]", 30.0),
        ("gaussian_mixture", 100.0),
    ],
)
def test_exact_agrees_with_long_hmc(text, beta):
    model = models.get(text)
    run = sample(temper(model, beta=beta), "hmc[num_steps=32]", draws=6000, warmup=1500)
    found = estimate(run)
    exact = model.exact(beta, tolerance=2e-3)
    assert abs(found.value - exact.lambda_hat) < 5 * math.hypot(found.mcse, exact.mcse)


# --- the limit of infinite β


@pytest.mark.parametrize(("text", "value", "multiplicity"), LIMITS)
def test_limit(text, value, multiplicity):
    model = models.get(text)
    truth = model.truth()
    assert str(truth.learning_coefficient) == value
    assert truth.multiplicity == multiplicity
    gaps = []
    for beta in (1e8, 1e12):
        expected = float(truth.learning_coefficient) - (multiplicity - 1) / math.log(beta)
        gaps.append(abs(model.exact(beta).lambda_hat - expected))
    # What is left is O(1/log² β) for m > 1, and a power of β for m = 1.
    assert gaps[1] < (6 / math.log(1e12) ** 2 if multiplicity > 1 else 0.01)
    assert gaps[1] <= gaps[0] + 1e-12


def test_free_energy_is_the_integral_of_lambda_hat():
    for text in ("cusp", "two_phase", "reduced_rank", "deep_linear[widths=1:2:2:2]"):
        model = models.get(text)
        nodes, weights = np.polynomial.legendre.leggauss(24)
        low, high = math.log(10), math.log(1e3)
        betas = np.exp((low + high) / 2 + (high - low) / 2 * nodes)
        area = (
            (high - low)
            / 2
            * sum(
                weight * model.exact(beta).lambda_hat
                for weight, beta in zip(weights, betas, strict=True)
            )
        )
        change = model.exact(1e3).free_energy - model.exact(10.0).free_energy
        assert area == pytest.approx(change, abs=1e-8)


# --- the integrals


def test_errors_of_the_integrals_cover_the_truth():
    for beta in WIDE:
        # ∫ exp(-β w²) dw, and a cubic at a wall.
        found = wells(beta, [Well(0.0, (0.0, 1.0), math.inf, math.inf)])
        assert found.log_partition == pytest.approx(0.5 * math.log(math.pi / beta), abs=1e-12)
        assert abs(found.lambda_hat - 0.5) <= 20 * found.lambda_hat_error
        found = mellin_barnes(beta, lambda s: -np.log1p(-2 * s), 0.5)
        s, x = 0.5, beta
        expected = s - x**s * math.exp(-min(x, 700)) / (math.sqrt(math.pi) * math.erf(x**s))
        assert abs(found.lambda_hat - expected) <= 1e-15 + 20 * found.lambda_hat_error
    coarse = log_trapezoid(lambda u: -np.cosh(u), np.cosh, -5.0, 5.0, step=2.0)
    exact = integrate.quad(lambda u: math.exp(-math.cosh(u)), -8, 8)[0]
    assert abs(coarse.log_partition - math.log(exact)) <= coarse.log_partition_error


def test_pfaffian_is_symmetric_and_reports_lost_digits():
    for sizes in ((2, 5, 3), (4, 4, 1), (1, 3, 6)):
        left, right = product_of_two(1e4, sizes), product_of_two(1e4, sizes[::-1])
        assert left.log_partition == pytest.approx(right.log_partition, abs=1e-10)
    bad = product_of_two(1e6, (10, 10, 10))
    assert bad.lambda_hat_error > 1
    # The model then takes another route instead.
    exact = models.get("reduced_rank[input=10,hidden=10,output=10]").exact(1e6, tolerance=0.05)
    assert "Gibbs" in exact.method
    assert exact.lambda_hat == pytest.approx(37.5, abs=1.5)


@pytest.mark.parametrize(("sizes", "beta"), [((3, 3, 3), 1e4), ((2, 2, 3), 1e12)])
def test_block_gibbs_agrees_with_the_pfaffian(sizes, beta):
    means = (np.zeros((sizes[1], sizes[0])), np.zeros((sizes[2], sizes[1])))
    target = np.zeros((sizes[2], sizes[0]))
    found = block_gibbs(beta, target, prior_means=means, tolerance=4e-3)
    exact = product_of_two(beta, sizes)
    assert found.mcse <= 4e-3 * found.lambda_hat
    assert abs(found.lambda_hat - exact.lambda_hat) < 4 * found.mcse


# --- size, data sets, refusals


def test_deep_linear_of_100000_parameters():
    model = models.get(
        "deep_linear[widths=300:300:20:300,rank=5,prior_scale=0.05,prior_center=optimum]"
    )
    posterior = temper(model, beta=100.0)
    assert posterior.dimension == 102_000

    @quick
    def evaluate(key):
        position = posterior.draw_prior(key)
        density = jax.value_and_grad(posterior.logdensity)(position)
        return position, density, posterior.loss(position)

    position, (value, gradient), loss = evaluate(jax.random.PRNGKey(0))
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    # The loss is a squared Frobenius norm, computed without the program.
    product = np.eye(300)
    for index in range(1, 4):
        product = np.asarray(position[f"w{index}"]) @ product
    product[range(5), range(5)] -= 1
    assert float(loss) == pytest.approx(np.sum(product**2) / 2, rel=1e-10)
    assert model.truth().learning_coefficient is not None


@pytest.mark.parametrize(("widths", "rank"), [((6, 5, 4, 6), 2), ((4, 7, 3), 1)])
def test_block_gibbs_of_large_networks_is_that_of_small_ones(widths, rank):
    """Two independent runs: |z| < 5, a false alarm in 2 million."""
    means = _linear.prior_means(widths, rank, "optimum")
    target = _linear.true_map(widths[0], widths[-1], rank)
    options = {"prior_means": means, "tolerance": 0.01}
    small = block_gibbs(1e3, target, **options)
    large = block_gibbs_large(1e3, target, **options)
    error = math.hypot(small.mcse, large.mcse)
    assert error < 0.015 * small.lambda_hat
    assert abs(small.lambda_hat - large.lambda_hat) < 5 * error


@pytest.mark.slow
def test_exact_of_a_deep_linear_network_with_10800_parameters():
    """1344.15 ± 0.36 is of 256 sweeps; Aoyagi's λ, for β to infinity, is within 5 %."""
    model = models.get("deep_linear[widths=60:60:60:60,rank=10,prior_center=optimum]")
    exact = model.exact(1e3)
    assert abs(exact.lambda_hat - 1344.15) < 5 * math.hypot(exact.mcse, 0.36)
    assert exact.lambda_hat == pytest.approx(model.truth().learning_coefficient, rel=0.06)


@pytest.mark.parametrize(
    "text",
    [
        "regular[n=30]",
        "cusp[n=30]",
        "deep_linear[n=30]",
        "gaussian_mixture[n=30,true_components=2]",
    ],
)
def test_data_sets(text):
    model = models.get(text)
    posterior = temper(model, beta=30.0)
    assert len(posterior.weights) == 30
    loss = quick(lambda key: posterior.loss(posterior.draw_prior(key)))(jax.random.PRNGKey(0))
    # On the average over data sets the truth is where the loss is least.
    assert float(loss) > float(posterior.minimum_loss) - 0.5
    exact = model.exact(30.0)
    assert exact is None or text.startswith("regular")


def test_wide_starts_of_flat_priors_are_not_in_the_density():
    posterior = temper(models.get("even_powers"), beta=1.0)
    one = posterior.log_prior({"w": jnp.zeros(3)})
    assert float(one) == float(posterior.log_prior({"w": jnp.full(3, 50.0)})) == 0.0
    # On the half line the density is flat in w; what is left is the Jacobian of w = exp(u).
    posterior = temper(models.get("airy"), beta=1.0)
    assert float(posterior.log_prior({"w": jnp.array([3.0])})) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("deep_linear[widths=[10,5,10],rank=2]", "deep_linear[widths=10:5:10,rank=2]"),
        ("even_powers[powers=[2,4]]", "even_powers[powers=2:4]"),
        ("regular[spectrum=[1,0.1]]", "regular[spectrum=1:0.1]"),
        ("normal_crossing[prior_powers=0:0]", "normal_crossing"),
    ],
)
def test_one_model_one_text(text, same):
    assert models.get(text) == models.get(same)
    assert models.specification(models.get(text)) == models.specification(models.get(same))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("regular[dimension=0]", "dimension=0: it must be a whole number >= 1"),
        ("regular[spectrum=1:-1]", "spectrum=1:-1: all curvatures must be positive"),
        ("regular[spectrum=wide]", "spectrum=wide: it must be numbers with : between them"),
        ("regular[spectrum=powers[-2]]", "it takes one positive number"),
        ("regular[dimension=3,spectrum=1:2]", "has 2 curvatures; leave dimension out"),
        ("normal_crossing[powers=0:0]", "one of them must be > 0"),
        ("normal_crossing[powers=1.5]", "it must be whole numbers >= 0"),
        ("normal_crossing[powers=1:1,prior_powers=1]", "one for each of the 2 powers"),
        ("normal_crossing[prior=cauchy]", "prior=cauchy: it must be uniform or normal"),
        ("even_powers[prior=box]", r"it must be flat or box\[bound\]"),
        ("even_powers[powers=0]", "it must be whole numbers >= 1"),
        ("scalar_product[size=0]", "size=0: it must be a whole number >= 1"),
        ("radial[power=0]", "power=0: it must be a whole number >= 1"),
        ("pearcey[linear=nan]", "linear=nan: it must be finite"),
        ("airy[slope=inf]", "slope=inf: it must be finite"),
        ("cusp[power=1]", "power=1: it must be a whole number >= 2"),
        ("two_phase[narrow_weight=1]", r"narrow_weight=1\.0: it must be between 0 and 1"),
        ("two_phase[broad_power=2]", "broad_power=2: it must be a whole number >= 3"),
        ("two_phase[excess=0]", "excess=0.0: it must be positive and finite"),
        ("reduced_rank[rank=4]", "rank=4: a product through widths 3, 3, 3 has rank <= 3"),
        ("reduced_rank[prior_center=truth]", "it must be zero or optimum"),
        ("deep_linear[widths=3]", "give the input, the hidden and the output width"),
        ("deep_linear[widths=3:0:3]", "it must be whole numbers >= 1"),
        ("deep_linear[prior_scale=0]", "prior_scale=0.0: it must be positive"),
        ("gaussian_mixture[true_components=3]", "the model has only 2 components"),
        ("gaussian_mixture[components=3,anchored=true]", "it is for components=2"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(ValueError, match=message):
        models.get(text)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize(
    "text",
    ["regular", "cusp", "airy", "two_phase", "deep_linear", "normal_crossing", "gaussian_mixture"],
)
def test_refused_beta(text, beta):
    with pytest.raises(ValueError, match="it must be positive and finite, such as 1e4"):
        models.get(text).exact(beta)
