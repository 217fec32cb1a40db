"""Modular addition by quadratic units: nine functions, and what they say of lambda."""

import itertools

import jax
import jax.flatten_util
import numpy as np
import pytest

import sltprob
from sltprob import models, temper
from sltprob.finding.bulk import differences, draw_differences, squared_bias, wide_difference
from sltprob.models.network import Network


def quadratic(width, target="modular", residues=5, **options):
    return Network(
        width=width,
        inputs=f"modular[{residues}]",
        activation="square",
        target=target,
        **options,
    )


# Of f = x^T M x in 1, cos 2A, sin 2A, cos 2B, sin 2B, cos(A + B), sin(A + B), cos(A - B) and
# sin(A - B), each divided by its norm; w = (w1, w2, w3, w4), M = w w^T.
def nine_coordinates(w):
    one, two, three, four = np.moveaxis(w, -1, 0)
    root = np.sqrt(0.5)
    return np.stack(
        [
            0.5 * (one**2 + two**2 + three**2 + four**2),
            root * 0.5 * (one**2 - two**2),
            root * one * two,
            root * 0.5 * (three**2 - four**2),
            root * three * four,
            root * (one * three - two * four),
            root * (one * four + two * three),
            root * (one * three + two * four),
            root * (two * three - one * four),
        ],
        axis=-1,
    )


def by_brute_force(width, target, beta, draws=40_000):
    """Average over prior draws of w: f is normal in nine dimensions. lambda-hat and its error."""
    w = np.random.default_rng(3).uniform(-1, 1, (draws, width, 4))
    units = nine_coordinates(w)
    y = np.zeros(9)
    y[5] = np.sqrt(0.5) if target == "modular" else 0.0
    covariance = units.mT @ units

    def log_z(at):
        matrix = np.eye(9) + 2 * at * covariance
        solved = np.linalg.solve(matrix, np.broadcast_to(y[:, None], (draws, 9, 1)))[..., 0]
        return -0.5 * np.linalg.slogdet(matrix)[1] - at * solved @ y

    # Derivatives by log beta of each draw, by a central difference.
    step = 1e-4
    slopes = (log_z(beta * np.exp(-step)) - log_z(beta * np.exp(step))) / (2 * step)
    weights = np.exp(log_z(beta) - log_z(beta).max())
    weights /= weights.sum()
    value = weights @ slopes
    return value, np.sqrt(np.sum((weights * (slopes - value)) ** 2))


@pytest.mark.parametrize(("width", "target"), [(4, "modular"), (4, "zero"), (12, "modular")])
def test_exact_values_are_those_of_nine_dimensions(width, target):
    """False-alarm rate of |z| < 5: 6e-7 each."""
    expected, error = by_brute_force(width, target, 8.0)
    answer = quadratic(width, target).exact(8.0)
    assert error < 0.02 * expected
    assert abs(answer.lambda_hat - expected) < 5 * np.hypot(answer.mcse, error)


def test_the_modulus_does_not_matter():
    answers = [quadratic(6, residues=residues).exact(2.0) for residues in (3, 5, 7, 15)]
    for answer in answers[1:]:
        assert answer.lambda_hat == pytest.approx(answers[0].lambda_hat, rel=1e-9)
        assert answer.free_energy == pytest.approx(answers[0].free_energy, rel=1e-9)


@pytest.mark.parametrize("text", ["uniform[1]", "normal[2]"])
def test_a_solution_is_regular_in_nine_directions(text):
    model = quadratic(6, embedding_prior=text)
    posterior = temper(model, beta=1.0)
    optimum = posterior.unconstrain(model.optimum())
    assert float(posterior.loss(optimum)) == pytest.approx(0.0, abs=1e-24)
    flat, back = jax.flatten_util.ravel_pytree(optimum)
    hessian = jax.jit(jax.hessian(lambda at: posterior.loss(back(at))))
    curvatures = np.linalg.eigvalsh(hessian(flat))
    assert np.sum(curvatures > 1e-9 * curvatures[-1]) == 9
    assert 2 * model.truth().learning_coefficient == 9


def test_zero_comes_down_to_half_the_units():
    """The approach is like β^(-½): 0.0024 at 10^6."""
    answer = quadratic(4, "zero").exact(1e6)
    assert answer.lambda_hat == pytest.approx(2.0, abs=0.004)


@pytest.mark.slow
def test_the_task_is_nine_halves_whatever_the_width():
    """False-alarm rate of |z| < 5: 6e-7 each."""
    for width in (5, 10):
        (row,) = differences([1e4], quadratic(width))
        assert abs(row.whole.lambda_hat - 4.5) < 5 * row.whole.mcse
        assert row.value > (1.0 if width == 5 else 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["modular", "zero"])
def test_hmc_agrees(target):
    """False-alarm rate of |z| < 5: 6e-7 each."""
    model = quadratic(6, target)
    run = sltprob.sample(temper(model, beta=20.0), "hmc", draws=1500, warmup=300, keep="loss")
    result, answer = sltprob.estimate(run), model.exact(20.0)
    assert abs(result.value - answer.lambda_hat) < 5 * np.hypot(result.mcse, answer.mcse)


@pytest.mark.parametrize(("family", "scale"), [("uniform", 1.0), ("uniform", 0.5), ("normal", 0.7)])
def test_what_the_task_costs_a_wide_network(family, scale):
    """Against the kernel by a rule of three nodes an axis, which is exact for (w.x)² (w.x')²."""
    rule = (
        np.polynomial.legendre.leggauss
        if family == "uniform"
        else np.polynomial.hermite_e.hermegauss
    )
    nodes, masses = rule(3)
    w = scale * np.array(list(itertools.product(nodes, repeat=4)))
    shares = np.array(
        [np.prod(part) for part in itertools.product(masses / masses.sum(), repeat=4)]
    )
    model, beta = quadratic(32, embedding_prior=f"{family}[{scale}]"), 0.7
    data = model.population()
    x, y = data.arguments["x"], data.arguments["y"]
    units = (w @ x.T) ** 2
    kernel = 32 * (units.T * shares) @ units / len(x)
    left = np.linalg.solve(np.eye(len(x)) + 2 * beta * kernel, y)
    assert wide_difference(beta, model) == pytest.approx(beta * np.mean(left**2), rel=1e-9)


def test_squared_bias_in_nine_dimensions():
    """Against a sum over other draws of w. False-alarm rate of |z| < 5: 6e-7."""
    beta, model = 8.0, quadratic(12)
    w = np.random.default_rng(4).uniform(-1, 1, (20_000, 12, 4))
    units = nine_coordinates(w)
    y = np.zeros((9, 1))
    y[5] = np.sqrt(0.5)
    matrix = np.eye(9) + 2 * beta * units.mT @ units
    left = np.linalg.solve(matrix, np.broadcast_to(y, (len(w), 9, 1)))[..., 0]
    bias = beta * np.sum(left**2, axis=1)
    weights = np.exp(-0.5 * np.linalg.slogdet(matrix)[1] - beta * left[:, 5] * y[5])
    weights /= weights.sum()
    expected = weights @ bias
    found = squared_bias(beta, model)
    assert found is not None
    error = np.hypot(found[1], np.sqrt(np.sum((weights * (bias - expected)) ** 2)))
    assert error < 0.02 * expected
    assert abs(found[0] - expected) < 5 * error
    # Hardly a draw counts where the loss must be small.
    assert squared_bias(1e6, quadratic(4), num_draws=2000) is None
    with pytest.raises(ValueError, match=r"never missed"):
        squared_bias(1.0, quadratic(4, "zero"))


def test_the_picture(tmp_path):
    rows = {6: differences([1.0], quadratic(6))}
    drawn = draw_differences(tmp_path / "modular.svg", rows, {6: 1.5})
    assert drawn is not None
    assert drawn.read_bytes().startswith(b"<?xml")


def test_a_network_that_cannot_reach_the_target_is_refused():
    for options in ("width=3", "activation=tanh", "depth=2", "inputs=cube[4]"):
        given = {"activation": "square", "inputs": "modular[5]", "target": "modular"}
        name, given_value = options.split("=")
        text = ",".join(f"{key}={value}" for key, value in (given | {name: given_value}).items())
        with pytest.raises(ValueError, match=r"target=modular needs .* width=4 or more"):
            models.get(f"network[{text}]")
