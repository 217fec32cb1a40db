"""Is the population loss of the flagship right, and its gradient?"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from sltprob import estimate, models, sample, temper
from sltprob.models._network import tanh_network
from sltprob.theory.hermite import coefficients, normalised_hermite


def test_loss_against_mpmath():
    model = models.get("tanh_zero[width=3]")
    posterior = temper(model, beta=1.0)
    a, w = np.array([0.7, -1.3, 0.4]), np.array([0.9, 0.35, -0.6])

    def integrand(x):
        f = sum(ai * mpmath.tanh(wi * x) for ai, wi in zip(a, w, strict=True))
        return f**2 * mpmath.npdf(x)

    with mpmath.workdps(30):
        expected = float(2 * mpmath.quad(integrand, [0, 1, 2, 4, 8, 14]))
    loss = posterior.loss(posterior.unconstrain({"a": a, "w": w}))
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


@pytest.mark.parametrize("prior", ["uniform[1]", "normal[1]", "uniform[3]"])
def test_loss_against_a_finer_rule(prior):
    """The rule's own error estimate is kept, and a rule of ten times the nodes agrees."""
    model = models.get(f"tanh_zero[embedding_prior={prior}]")
    data = model.population()
    assert 0 <= data.error <= 1e-12
    generator = np.random.default_rng(0)
    x = (np.arange(4000) + 0.5) * 0.003
    fine = np.exp(-(x**2) / 2)
    fine /= fine.sum()
    for _ in range(5):
        w = model._prior.draw(generator, (model.width,))
        a = generator.normal(size=model.width)
        exact = fine @ (a @ np.tanh(w[:, None] * x)) ** 2
        nodes = data.arguments["x"]
        loss = data.weights @ (a @ np.tanh(w[:, None] * nodes)) ** 2
        np.testing.assert_allclose(loss, exact, rtol=1e-12)


@pytest.mark.parametrize(("modes", "slope"), [(1, 1.0), (3, 1.0), (4, 1.0), (15, 3.0)])
def test_modes_cut_the_loss(modes, slope):
    """Parseval: the cut loss is the sum of the squared coefficients that it sees, alone."""
    model = models.get(f"tanh_zero[width=3,modes={modes},embedding_prior=uniform[{slope}]]")
    posterior = temper(model, beta=1.0)
    generator = np.random.default_rng(modes)
    a, w = generator.normal(size=3), generator.uniform(-slope, slope, 3)
    squares = (a @ coefficients(w, modes)) ** 2
    loss = posterior.loss(posterior.unconstrain({"a": a, "w": w}))
    np.testing.assert_allclose(loss, squares.sum(), rtol=1e-10)
    # What the verdict is told of the rule is the error of this loss, not of that of the network.
    assert model.population().error < 1e-12
    # Every mode is seen: without the last one the loss would be another.
    assert squares.sum() - squares[modes - (modes + 1) % 2] < (1 - 1e-9) * float(loss)
    # A data set has the same function at other inputs.
    sampled = replace(model, n=4).data().arguments
    f = a @ coefficients(w, modes) @ normalised_hermite(modes, sampled["x"])
    found = temper(replace(model, n=4), beta=1.0).loss(posterior.unconstrain({"a": a, "w": w}))
    np.testing.assert_allclose(found, np.mean((f - sampled["y"]) ** 2), rtol=1e-10)


def test_cut_loss_has_its_own_exact_value_and_limit():
    # One mode is one resolved direction.
    one = models.get("tanh_zero[width=3,modes=1]")
    assert one.exact(1e6).lambda_hat == pytest.approx(0.5, abs=0.01)
    assert str(one.truth().learning_coefficient) == "1/2"
    two = models.get("tanh_zero[width=9,modes=3]")
    assert two.truth().status == "upper bound"
    assert str(two.truth().learning_coefficient) == "1"


@pytest.mark.slow
def test_a_sampler_measures_the_cut_loss():
    """|z| < 5 against HMC: 6e-7."""
    two = models.get("tanh_zero[width=9,modes=3]")
    exact = two.exact(1e2)
    run = sample(temper(two, beta=1e2), "hmc", draws=1000, warmup=300, seed=1)
    found = estimate(run)
    assert abs(found.value - exact.lambda_hat) < 5 * np.hypot(found.mcse, exact.mcse)


def test_gradient_is_that_of_automatic_differentiation():
    keys = jax.random.split(jax.random.key(0), 3)
    a, w, x = (jax.random.normal(key, (size,)) for key, size in zip(keys, (5, 5, 7), strict=True))

    def plain(a, w, x):
        return jnp.sum(jnp.cos(a @ jnp.tanh(w[:, None] * x[None, :])))

    def written(a, w, x):
        return jnp.sum(jnp.cos(tanh_network(a, w, x)))

    expected = jax.grad(plain, (0, 1, 2))(a, w, x)
    for ours, theirs in zip(jax.grad(written, (0, 1, 2))(a, w, x), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    hessian = jax.jacrev(jax.grad(written))(a, w, x)
    np.testing.assert_allclose(hessian, jax.jacrev(jax.grad(plain))(a, w, x), rtol=1e-10)


def test_truth_is_the_theorem():
    expected = {1: "1/2", 2: "2/3", 4: "1", 5: "11/10", 10: "11/7", 16: "2", 128: "130/23"}
    for width, coefficient in expected.items():
        truth = models.get(f"tanh_zero[width={width}]").truth()
        assert str(truth.learning_coefficient) == coefficient
        assert truth.multiplicity == (2 if width in (1, 4, 16) else 1)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("tanh_zero[width=0]", "width=0"),
        ("tanh_zero[width=1.5]", "whole number"),
        ("tanh_zero[readout_scale=-1]", "readout_scale"),
        ("tanh_zero[embedding_prior=normal[0]]", "embedding_prior"),
        ("tanh_zero[embedding_prior=cauchy[1]]", "uniform[bound] or normal[sd]"),
        ("tanh_zero[modes=0]", "such as 5"),
        ("tanh_zero[modes=200]", "from 1 to 99"),
        ("tanh_zero[depth=3]", "its options are: width"),
        ("tanh_one", "there are:"),
    ],
)
def test_bad_options_are_refused(text, word):
    with pytest.raises(ValueError, match=r".") as caught:
        models.get(text)
    assert word in str(caught.value)


@pytest.mark.slow
def test_one_process_takes_the_modes_in_both_precisions():
    """Constants of the first precision must not stay in what JAX keeps of the program."""
    model = models.get("tanh_zero[width=2,modes=3]")
    for wide in (True, False):
        jax.config.update("jax_enable_x64", wide)
        try:
            run = sample(temper(model, beta=10.0), "mala[steps_per_draw=1]", draws=5, warmup=20)
        finally:
            jax.config.update("jax_enable_x64", True)
        assert run.attrs["dtype"] == ("float64" if wide else "float32")
        assert np.all(np.isfinite(run["sample_stats"]["loss"].values))
