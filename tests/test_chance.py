"""Keys and numbers that are made without JAX's generator: all different, and as good as chance."""

import jax
import numpy as np
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sltprob.chance import key_of, keys_of, scattered_vector
from sltprob.sampling.keys import RunKeys, made_keys

WORDS = st.integers(0, 2**32 - 1)
COUNT = 100_000


def words(keys):
    return np.asarray(jax.random.key_data(keys)).reshape(-1, 2)


def pair(first, second):
    return jax.random.wrap_key_data(np.array([first, second], np.uint32))


@settings(max_examples=50, deadline=None)
@given(WORDS, WORDS, WORDS, WORDS)
def test_other_numbers_and_other_keys_make_other_keys(first, second, number, other):
    key = pair(first, second)
    made = words(key_of(key, np.uint32(number)))
    if number != other:
        assert (words(key_of(key, np.uint32(other))) != made).any()
        assert (words(key_of(pair(first, second ^ 1), np.uint32(number))) != made).any()
        assert (words(key_of(pair(other, second), np.uint32(number))) != made).any() or (
            other == first
        )


def test_keys_of_a_key_and_their_keys_are_all_different():
    """Of 10^6 words of 64 random bits two are equal with a probability of 3e-8."""
    children = keys_of(jax.random.key(0), 1000)
    grandchildren = words(jax.vmap(lambda key: keys_of(key, 1000))(children))
    everyone = np.concatenate([words(children), grandchildren]).astype(np.uint64)
    assert len(np.unique(everyone[:, 0] << np.uint64(32) | everyone[:, 1])) == len(everyone)
    # The order of two numbers matters.
    key = jax.random.key(1)
    assert (words(key_of(key_of(key, 3), 5)) != words(key_of(key_of(key, 5), 3))).any()


def test_what_is_drawn_from_keys_of_a_key_is_independent():
    """No p below 1e-6, and |r| < 5/√n: seven looks, a false alarm once in 140,000."""
    drawn = np.asarray(jax.vmap(jax.random.normal)(keys_of(jax.random.key(2), COUNT)))
    assert scipy.stats.kstest(drawn, "norm").pvalue > 1e-6
    for lag in (1, 2, 4, 1024):
        correlation = np.corrcoef(drawn[lag:], drawn[:-lag])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(COUNT - lag)
    parents = jax.random.split(jax.random.key(3), COUNT)
    of_parents = np.asarray(jax.vmap(jax.random.normal)(parents))
    for number in (0, 1):
        children = jax.vmap(lambda key, number=number: key_of(key, number))(parents)
        of_children = np.asarray(jax.vmap(jax.random.normal)(children))
        assert abs(np.corrcoef(of_parents, of_children)[0, 1]) < 5 / np.sqrt(COUNT)


def test_a_scattered_vector_is_uniform():
    """No p below 1e-6: a false alarm once in a million."""
    made = np.asarray(scattered_vector(jax.random.key(4), np.zeros(COUNT)))
    assert scipy.stats.kstest(made, "uniform", args=(-1, 2)).pvalue > 1e-6


def test_keys_of_a_chain_do_not_depend_on_how_many_there_are():
    few, many = RunKeys.of(7, 3), RunKeys.of(7, 8)
    for name in ("starts", "draws"):
        np.testing.assert_array_equal(words(getattr(few, name)), words(getattr(many, name))[:3])
    np.testing.assert_array_equal(words(few.warmup), words(many.warmup))


def test_other_seeds_and_purposes_have_other_keys():
    found = {
        tuple(row)
        for seed in (0, 1, 2**31, 2**32, 2**40)
        for leaf in [*RunKeys.of(seed, 4), made_keys(seed, 4, 1, shape=(2, 3))]
        for row in words(leaf).tolist()
    }
    assert len(found) == 5 * (4 + 1 + 1 + 4 + 6)
