"""Are the networks' losses, rules and exact answers right?"""

import jax
import numpy as np
import pytest
from scipy import integrate, special

import sltprob
from sltprob import models, temper

COMBINATIONS = [
    "network[width=3]",
    "network[width=3,activation=erf]",
    "network[width=3,activation=sin,inputs=cube[2]]",
    "network[width=3,activation=gelu,inputs=cube[1]]",
    "network[width=3,activation=softplus]",
    "network[width=3,activation=relu]",
    "network[width=3,activation=relu,inputs=cube[1]]",
    "network[width=3,inputs=circle]",
    "network[width=3,inputs=circle,activation=gelu]",
    "network[width=3,inputs=cube[3]]",
    "network[width=3,depth=2]",
    "network[width=3,depth=3,activation=gelu]",
    "network[width=3,target=hermite[2]]",
    "network[width=3,target=hermite[3]]",
    "network[width=3,target=unit]",
    "network[width=3,embedding_prior=normal[1],activation=softplus]",
    "network[width=4,inputs=modular[5],activation=square,target=modular]",
]


def loss_of(text, position_seed=1):
    """Evaluate the program's loss at a prior draw, and the function that it is the mean of."""
    model = models.get(text)
    posterior = temper(model, beta=1.0)
    position = posterior.draw_prior(jax.random.key(position_seed))
    values = {name: np.asarray(value) for name, value in posterior.constrain(position).items()}

    def squared_error(x):
        hidden = {name: value[None] for name, value in values.items() if name != "a"}
        outputs = values["a"] @ model._units(hidden, x)[0]
        return (outputs - model._targets(x)) ** 2

    return float(posterior.loss(position)), squared_error


@pytest.mark.turns
@pytest.mark.parametrize("text", COMBINATIONS)
def test_the_rule_reaches_its_accuracy(text):
    loss, squared_error = loss_of(text)
    if "circle" in text:
        angles = (np.arange(20_001) + 0.5) * (2 * np.pi / 20_001)
        expected = squared_error(np.stack([np.cos(angles), np.sin(angles)], axis=1)).mean()
    elif "modular" in text:
        pairs = 2 * np.pi / 5 * np.array([(a, b) for a in range(5) for b in range(5)])
        x = np.stack([np.cos(pairs), np.sin(pairs)], axis=2).reshape(-1, 4)
        np.testing.assert_allclose(models.get(text)._targets(x), np.cos(pairs.sum(axis=1)))
        expected = squared_error(x).mean()
    elif "cube" in text:
        dimension = int(text.split("cube[")[1][0])
        # Panels on both sides of the kink that relu has at 0.
        nodes, weights = special.roots_legendre(30)
        axis = np.concatenate([(nodes - 1) / 2, (nodes + 1) / 2])
        weights = np.tile(weights / 4, 2)
        grid = np.stack(np.meshgrid(*[axis] * dimension), axis=-1).reshape(-1, dimension)
        products = np.stack(np.meshgrid(*[weights] * dimension), axis=-1).reshape(-1, dimension)
        expected = squared_error(grid) @ products.prod(axis=1)
    else:
        density = np.sqrt(2 * np.pi)
        expected = sum(
            integrate.quad(
                lambda x: float(squared_error(np.array([x]))[0] * np.exp(-(x**2) / 2) / density),
                *part,
                epsabs=1e-13,
                epsrel=1e-12,
                limit=200,
            )[0]
            for part in ((-12, -4), (-4, 0), (0, 4), (4, 12))
        )
    np.testing.assert_allclose(loss, expected, rtol=2e-9)


# Fresh data depend on the inputs and the target, not on the activation.
DRAWN = [
    "network[width=3]",
    "network[width=3,activation=sin,inputs=cube[2]]",
    "network[width=3,inputs=circle]",
    "network[width=3,target=hermite[3]]",
    "network[width=3,target=unit]",
    "network[width=3,inputs=cube[5]]",
    "network[width=4,inputs=modular[5],activation=square,target=modular]",
]


@pytest.mark.parametrize("text", DRAWN)
def test_fresh_minibatches_have_the_same_mean(text):
    """False-alarm rate of |z| < 5: 6e-7 each."""
    posterior = temper(models.get(text), beta=1.0)
    position = posterior.draw_prior(jax.random.key(2))

    def estimate(key):
        log_prior = posterior.log_prior(position)
        return log_prior - posterior.minibatch_logdensity(
            position, posterior.draw_minibatch(key, 64)
        )

    values = np.asarray(jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(3), 2000)))
    error = values.std() / np.sqrt(len(values))
    error = np.hypot(error, float(posterior.data_error) * values.mean())
    assert abs(values.mean() - float(posterior.loss(position))) < 5 * error


def test_a_rule_that_cannot_says_so():
    with pytest.raises(ValueError, match=r"circle .* reaches .* accuracy="):
        models.get("network[inputs=circle,activation=relu]").population()
    assert (
        models.get("network[inputs=circle,activation=relu,accuracy=1e-5]").population().error < 1e-5
    )
    with pytest.raises(ValueError, match="accuracy="):
        models.get("network[embedding_prior=uniform[10000]]").population()


def test_quasi_monte_carlo_has_an_error_bar():
    data = models.get("network[width=3,inputs=cube[5]]").population()
    assert 0 < data.error < 0.05


def test_tanh_zero_is_one_of_the_networks():
    ours = temper(models.get("tanh_zero[width=5]"), beta=10.0)
    other = temper(models.get("network[width=5]"), beta=10.0)
    position = ours.draw_prior(jax.random.key(0))
    np.testing.assert_allclose(ours.logdensity(position), other.logdensity(position), rtol=1e-9)


# λ̂ at β of ½E(f - y)², which is ours at β/2; a, w ~ N(0,1). Exact or collapsed MCMC, ± tolerance.
CURVES = [
    ("network[width=1,target=unit]", {10: 0.68844156, 1e2: 0.72151456, 1e4: 0.99736975}, 1e-6),
    ("network[width=3,target=unit]", {1e2: 0.7373, 1e4: 1.2283}, 5e-4),
    ("network[width=2,activation=relu]", {10: 0.4024351712, 1e3: 0.549844321}, 1e-6),
    ("network[width=8,activation=relu]", {10: 0.8457780845, 1e2: 0.9301100397}, 1e-6),
    pytest.param(
        "network[width=4,inputs=circle]", {1e4: 1.521, 1e8: 1.8325}, 0.016, marks=pytest.mark.slow
    ),
]


@pytest.mark.turns
@pytest.mark.parametrize(("text", "curve", "tolerance"), CURVES)
def test_exact_curves(text, curve, tolerance):
    """False-alarm rate of |z| < 5: 6e-7 for each value."""
    model = models.get(text.replace("]", ",embedding_prior=normal[1]]", 1))
    for beta, expected in curve.items():
        answer = model.exact(beta / 2)
        assert answer.mcse < 0.02 * expected
        assert abs(answer.lambda_hat - expected) < 5 * np.hypot(answer.mcse, tolerance)


def test_exact_against_quadrature_with_a_target():
    """One unit learns He_3: integrate over w on a grid. False-alarm rate of |z| < 5: 6e-7."""
    model = models.get("network[width=1,target=hermite[3],embedding_prior=uniform[2]]")
    rule, beta = model._rule, 30.0
    w = (np.arange(4000) + 0.5) / 4000 * 2
    units = np.tanh(w[:, None] * rule.nodes)
    g = units**2 @ rule.weights
    b = (units * model._targets(rule.nodes)) @ rule.weights
    c = model._targets(rule.nodes) ** 2 @ rule.weights
    precision = 1 + 2 * beta * g
    log_z = -0.5 * np.log(precision) + 2 * (beta * b) ** 2 / precision - beta * c
    mean, variance = 2 * beta * b / precision, 1 / precision
    loss = g * (mean**2 + variance) - 2 * b * mean + c
    shares = np.exp(log_z - log_z.max())
    expected = beta * (shares @ loss) / shares.sum()
    answer = model.exact(beta)
    assert abs(answer.lambda_hat - expected) < 5 * answer.mcse
    free_energy = -np.log(np.mean(np.exp(log_z)))
    assert abs(answer.free_energy - free_energy) < 5 * answer.free_energy_mcse


@pytest.mark.parametrize("text", ["network[width=2,depth=2]", "network[width=2,target=unit]"])
@pytest.mark.slow
def test_hmc_agrees_with_the_collapsed_answer(text):
    """False-alarm rate of |z| < 5: 6e-7."""
    model = models.get(text)
    run = sltprob.sample(temper(model, beta=20.0), "hmc", draws=1500, warmup=300, keep="loss")
    result, answer = sltprob.estimate(run), model.exact(20.0)
    assert abs(result.value - answer.lambda_hat) < 5 * np.hypot(result.mcse, answer.mcse)


def test_an_infimum_that_is_not_attained_is_reported():
    truth = models.get("network[target=hermite[3]]").truth()
    assert truth.learning_coefficient is None
    assert "not attained" in truth.source


@pytest.mark.parametrize(
    ("text", "coefficient", "multiplicity"),
    [
        ("network[width=10]", "11/7", 1),
        ("network[width=4,activation=erf]", "1", 2),
        ("network[width=1,activation=relu]", "1/2", 2),
        ("network[width=2,activation=relu]", "1/2", 1),
        ("network[width=2,inputs=circle,activation=relu]", "1", 2),
        ("network[width=5,inputs=circle,activation=relu]", "2", 1),
        ("network[width=4,inputs=circle]", "2", 3),
        ("network[width=5,inputs=circle]", "11/5", 1),
        ("network[width=6,inputs=circle]", "12/5", 1),
        ("network[width=3,target=unit]", "3/2", 2),
        ("network[width=5,inputs=modular[7],activation=square]", "5/2", 1),
        ("network[width=9,inputs=modular[7],activation=square]", "9/2", 2),
        ("network[width=16,inputs=modular[7],activation=square]", "9/2", 1),
        ("network[width=5,inputs=modular[7],activation=square,target=modular]", "9/2", 1),
    ],
)
def test_truths(text, coefficient, multiplicity):
    truth = models.get(text).truth()
    assert str(truth.learning_coefficient) == coefficient
    assert truth.multiplicity == multiplicity


@pytest.mark.parametrize(
    "text",
    [
        "network[depth=0]",
        "network[activation=cosh]",
        "network[inputs=sphere]",
        "network[inputs=cube[0]]",
        "network[inputs=modular[6]]",
        "network[target=hermite]",
        "network[target=hermite[2],inputs=circle]",
        "network[target=unit,depth=2]",
        "network[accuracy=0]",
    ],
)
def test_bad_options_are_refused(text):
    with pytest.raises(ValueError, match=r"must be|needs"):
        models.get(text)


def test_gradients_are_finite():
    posterior = temper(models.get("network[width=3,depth=2,inputs=cube[2]]"), beta=10.0)
    position = posterior.draw_prior(jax.random.key(0))
    gradient = jax.jit(jax.grad(posterior.logdensity))(position)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
