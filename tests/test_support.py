"""Is the map to a support NumPyro's, with its Jacobian and derivatives?"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads
from numpyro.distributions import biject_to, constraints

from sltprob.support import constrain

SUPPORTS = {
    "unit interval": constraints.unit_interval,
    "interval": constraints.interval(-3.0, 0.5),
    "open interval": constraints.open_interval(0.0, 2.0),
    "a bound for each": constraints.interval(jnp.zeros(5), jnp.arange(1.0, 6.0)),
    "circle": constraints.circular,
    "event of intervals": dist.Uniform(-1, 1).expand([5]).to_event(1).support,
    "positive": constraints.positive,
    "real": constraints.real,
    "simplex": constraints.simplex,
    "ordered": constraints.ordered_vector,
}


def reference(support, position):
    transform = biject_to(support)
    value = transform(position)
    return value, jnp.sum(transform.log_abs_det_jacobian(position, value))


@pytest.mark.parametrize("name", SUPPORTS)
def test_value_and_jacobian_are_those_of_numpyro(name):
    position = jnp.asarray([-3.0, -1e-9, 0.0, 0.7, 20.0])
    value, log_jacobian = constrain(SUPPORTS[name], position)
    expected, expected_log_jacobian = reference(SUPPORTS[name], position)
    np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(log_jacobian, expected_log_jacobian, rtol=1e-13)


@functools.partial(jax.jit, static_argnums=0)
def weighted_sum(function, weight, position):
    """Give a sum of values and log Jacobian with its gradient, compiled once for each shape."""

    def evaluate(position):
        value, log_jacobian = function(constraints.interval(-2.0, 1.0), position)
        return jnp.sum(weight * value) + log_jacobian

    return jax.value_and_grad(evaluate)(position)


@pytest.mark.parametrize("shape", [(), (1,), (63,), (64,), (65,), (3, 50), (1000,)])
@pytest.mark.parametrize("scale", [1e-3, 3.0, 200.0])
def test_gradients_are_those_of_numpyro_in_every_shape(shape, scale):
    position = scale * jnp.asarray(np.random.default_rng(0).normal(size=shape))
    weight = jnp.cos(jnp.arange(position.size, dtype=float)).reshape(shape)

    found, gradient = weighted_sum(constrain, weight, position)
    expected, expected_gradient = weighted_sum(reference, weight, position)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-12)


def test_it_can_be_differentiated_twice():
    position = jnp.asarray([-2.0, 0.3, 1.7])
    check_grads(lambda x: constrain(constraints.unit_interval, x), (position,), order=2)


@given(x=st.floats(-1e307, 1e307))
def test_nothing_overflows_and_the_bounds_are_never_reached(x):
    value, log_jacobian = constrain(constraints.unit_interval, jnp.asarray([x, -x]))
    assert np.all((value > 0) & (value < 1))
    np.testing.assert_allclose(log_jacobian, -2 * abs(x), rtol=1e-12, atol=4)
    gradient = jax.grad(lambda x: constrain(constraints.unit_interval, x)[1])(jnp.asarray(x))
    assert abs(gradient) <= 1


def test_a_thousand_coordinates_in_float32():
    """Products of factors between 1 and 2 must not overflow where all of them are nearly 2."""
    position = jnp.full(1000, 1e-3, jnp.float32)
    _, log_jacobian = constrain(constraints.unit_interval, position)
    assert log_jacobian.dtype == jnp.float32
    np.testing.assert_allclose(log_jacobian, -2000 * np.log(2), rtol=1e-5)
