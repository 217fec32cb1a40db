"""What a local run of a large network keeps: its chains, and three arrays of parameters."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sltprob
from sltprob import samplers
from sltprob.samplers._blocks import by_leaf
from sltprob.sampling.local_chunk import run_local_chunk
from sltprob.sampling.local_run import LocalOptions, LocalRun

WIDTH = 1500
SIZE = 4 * WIDTH**2  # bytes of the parameters


def square_rows(params, batch):
    return 0.5 * jnp.sum(jnp.tanh(batch @ params) ** 2, axis=1)


@pytest.mark.turns
@pytest.mark.parametrize(
    ("sampler", "copies", "temporary"),
    [
        # Center and chain; parameters and gradient, then force and new chain in their places.
        ("sgld", 2, 2),
        ("preconditioned_sgld", 3, 2),
        # A chain has a momentum, of which there is an old one and a new one.
        ("sghmc", 3, 3),
        ("sgnht", 3, 3),
    ],
)
def test_a_step_keeps_no_more_than_center_parameters_and_gradient(sampler, copies, temporary):
    """Counted by the compiler; the pieces of the noise and the minibatch are the rest."""
    params = jnp.full((WIDTH, WIDTH), 1e-2, jnp.float32)
    posterior = sltprob.local(square_rows, params, np.ones((20, WIDTH), np.float32), nbeta=10.0)
    options = LocalOptions(
        batch_size=4,
        steps_per_draw=3,
        step_size=1e-9,
        draws=2,
        warmup=20,
        chains=2,
        seed=0,
        init="optimum",
        record="paired",
        keep="loss",
        vectorized=None,
        half_step=False,
        target_rho=0.1,
    )
    kernel = replace(samplers.get(sampler), batch_size=None, steps_per_draw=1)
    run = LocalRun(posterior, kernel, options)
    if sampler == "preconditioned_sgld":
        run.rescale({"params": jnp.ones((WIDTH, WIDTH), jnp.float32)})

    def step(*arguments):
        return run_local_chunk(
            *arguments,
            sampler=kernel,
            num_draws=run.chunk,
            steps_per_draw=3,
            batch_size=4,
            record="paired",
            keep="loss",
        )

    arguments = (run.shared, run.tuned, run.states[0], run.keys.draws[:1], jnp.asarray(0), None)
    program = jax.jit(step, donate_argnums=2).lower(*arguments).compile()
    memory = program.memory_analysis()
    assert memory.argument_size_in_bytes == pytest.approx(copies * SIZE, rel=0.1)
    # What comes out lies where the chain lay.
    assert memory.alias_size_in_bytes == pytest.approx(memory.output_size_in_bytes, rel=0.01)
    assert memory.temp_size_in_bytes < (temporary + 0.35) * SIZE


def test_pieces_of_a_leaf_are_each_moved_once():
    """A leaf that is no whole number of pieces: its noise is N(0, 1), with no two equal."""
    zeros = {"w": jnp.zeros(9 * 2**16 + 1001, jnp.float32), "b": jnp.zeros(5, jnp.float32)}
    (moved,) = by_leaf(
        lambda key, leaf, shift: (leaf + shift + jax.random.normal(key, leaf.shape, leaf.dtype),),
        jax.random.key(0),
        (zeros,),
        (jax.tree.map(lambda leaf: leaf + 3.0, zeros),),
    )
    values = np.asarray(moved["w"], float) - 3.0
    count = values.size
    assert abs(values.mean()) < 5 / np.sqrt(count)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / count)
    # Two equal numbers of 24 bits are a matter of chance; pieces with one key are not.
    assert len(np.unique(values)) > 0.95 * count
