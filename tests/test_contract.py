"""Is a kernel that does not return what it must refused in one line, before it runs?"""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import sltprob
from sltprob.samplers.base import Warmup, evaluate_position


class Place(NamedTuple):
    position: Any
    logdensity: Any


@dataclass(frozen=True, kw_only=True)
class Walk(sltprob.Sampler):
    """A random walk, by hand."""

    def warmup(self, rng_key, posterior, positions, num_steps):
        states = Place(positions, jax.vmap(posterior.logdensity)(positions))
        return Warmup(states, {}, {}, jnp.asarray(0))

    def step(self, rng_key, posterior, state, parameters):
        key_move, key_test = jax.random.split(rng_key)
        flat, unravel = jax.flatten_util.ravel_pytree(state.position)
        position = unravel(flat + 0.4 * jax.random.normal(key_move, flat.shape))
        other = Place(position, posterior.logdensity(position))
        rate = jnp.minimum(1.0, jnp.exp(other.logdensity - state.logdensity))
        moves = jax.random.uniform(key_test) < rate
        state = jax.tree.map(lambda new, old: jnp.where(moves, new, old), other, state)
        return self.told(state, {"num_gradients": jnp.asarray(1), "acceptance_rate": rate})

    def told(self, state, info):
        return state, info

    def evaluate(self, posterior, state):
        return evaluate_position(posterior, state.position)


def altered(**methods):
    """Make a walk with other methods."""
    return dataclass(frozen=True, kw_only=True)(type("Altered", (Walk,), methods))()


@pytest.fixture(scope="module")
def posterior():
    return sltprob.temper(sltprob.models.get("regular[dimension=2]"), beta=10.0)


def sampled(posterior, sampler):
    return sltprob.sample(posterior, sampler, draws=100, warmup=20)


def told(posterior, sampler):
    verdict = sltprob.diagnose(sampled(posterior, sampler))
    return next((check for check in verdict.failed if check.name == "told"), None)


def test_what_keeps_the_contract_is_sampled(posterior):
    assert told(posterior, Walk()) is None
    numbers = altered(told=lambda self, state, info: (state, {"num_gradients": 1}))
    assert told(posterior, numbers) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda state, info: state, "a pair with an array second; return (state, info)"),
        (lambda state, info: None, "step returns a NoneType; return (state, info)"),
        (lambda state, info: (state, None), "a pair with a NoneType second"),
        (lambda state, info: (state, {"acceptance_rate": 1.0}), 'must have "num_gradients"'),
        (lambda state, info: (state, {"num_gradients": jnp.ones(3)}), "of shape (3,)"),
        (
            lambda state, info: (state, {**info, "acceptance_rate": jnp.ones(2)}),
            "acceptance_rate of shape (2,); it must be one number",
        ),
        (lambda state, info: (state, {**info, "note": "hi"}), "note that is a str"),
        (lambda state, info: (state, {**info, "loss": 1.0}), "give it another name"),
        (lambda state, info: (state, {**info, "my/own": 1.0}), "give it another name"),
        (
            lambda state, info: (state._replace(logdensity=jnp.ones(2)), info),
            "state.logdensity was float64[] and is float64[2]",
        ),
    ],
)
def test_a_step_that_returns_something_else_is_refused(posterior, answer, words):
    kernel = altered(told=lambda self, state, info: answer(state, info))
    with pytest.raises(TypeError, match=re.escape(words)):
        sampled(posterior, kernel)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda warm: (warm.states, {}),
            "warmup returns a tuple; return sltprob.samplers.base.War",
        ),
        (lambda warm: warm._replace(states=jnp.ones(3)), "the first axis must be that of the 4"),
        (lambda warm: warm._replace(trace={"loss": jnp.ones(3)}), "of shape (draw, chain)"),
        (lambda warm: warm._replace(num_gradients=jnp.ones(4)), "num_gradients of shape (4,)"),
        (lambda warm: warm._replace(parameters=[1.0]), "parameters that are a list"),
    ],
)
def test_a_warm_up_that_returns_something_else_is_refused(posterior, answer, words):
    kernel = altered(warmup=lambda self, *given: answer(Walk.warmup(self, *given)))
    with pytest.raises(TypeError, match=re.escape(words)):
        sampled(posterior, kernel)


def test_states_that_cannot_be_evaluated_are_refused(posterior):
    kernel = altered(evaluate=sltprob.Sampler.evaluate)
    with pytest.raises(TypeError, match="have no logdensity_grad; give the class an evaluate"):
        sampled(posterior, kernel)


@pytest.mark.parametrize(
    ("name", "value"), [("num_gradients", -5), ("acceptance_rate", 7.0), ("acceptance_rate", -0.1)]
)
def test_counts_and_rates_that_cannot_be_are_doubted(posterior, name, value):
    kernel = altered(told=lambda self, state, info: (state, {**info, name: jnp.asarray(value)}))
    assert told(posterior, kernel).value == 400


@pytest.mark.parametrize(
    ("sampler", "words"),
    [(None, "sampler=None is no sampler"), (5, "sampler=5"), (Walk, "is a class; write an object")],
)
def test_what_is_no_sampler_is_refused(posterior, sampler, words):
    with pytest.raises(TypeError, match=words):
        sampled(posterior, sampler)
    with pytest.raises(TypeError, match=words):
        sltprob.compare("regular", [sampler], [1.0])
    around = sltprob.local(lambda w, x: (x - w) ** 2, jnp.zeros(()), jnp.ones(9))
    with pytest.raises(TypeError, match=words):
        sampled(around, sampler)


def test_kernels_of_one_name_are_not_told_apart_in_a_league():
    with pytest.raises(ValueError, match="two of the samplers are called Altered"):
        sltprob.bench(["regular"], [altered(), altered(told=Walk.told)], [10.0])
