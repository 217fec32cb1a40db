"""Whether a program can be evaluated on some of its rows, asked before anything compiles."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.posterior import TemperedPosterior
from sltprob.support import seeded, traced

__all__ = ["check_minibatches"]


def check_minibatches(posterior: TemperedPosterior, batch_size: int) -> None:
    """Refuse minibatches that a program cannot take, or whose rows have other losses.

    The loss of a row must not depend on which other rows stand beside it.
    """
    size = len(posterior.weights)
    count = min(batch_size, size)
    if count == size or posterior.structure.population:
        return
    chosen = np.linspace(0, size - 1, count).astype(int)
    position = posterior.draw_prior(jax.random.key(0))
    some = {
        name: value[chosen] if name in posterior.structure.rows else value
        for name, value in posterior.arguments.items()
    }
    whole = _losses(posterior, position, posterior.arguments)
    try:
        part = _losses(posterior, position, some)
    except (TypeError, ValueError) as error:
        raise ValueError(_fixed(posterior, batch_size, count, error)) from None
    if part.shape != (count,) or not np.allclose(
        part, whole[chosen], rtol=1e-4, atol=1e-6, equal_nan=True
    ):
        raise ValueError(
            f"batch_size={batch_size}: the loss of a row is another one in a minibatch (a "
            "statistic over all rows inside the program, or an argument with as many rows as data "
            "that is none); compute such things before, or write batch_size=none"
        )


def _losses(posterior: TemperedPosterior, position: Any, arguments: dict[str, Any]) -> np.ndarray:
    """Give the loss of every row, without LLVM's optimisation as it runs once."""

    def evaluate(position: Any, arguments: dict[str, Any]) -> Any:
        likelihoods = posterior.log_likelihoods(position, arguments)
        losses = [
            -jnp.moveaxis(likelihoods[name], axis, 0) for name, axis in posterior.structure.observed
        ]
        return sum(jnp.sum(each.reshape(each.shape[0], -1), axis=1) for each in losses)

    options = {"xla_backend_optimization_level": 0}
    run = jax.jit(evaluate, compiler_options=options)
    return np.asarray(run(position, arguments))


def _fixed(posterior: TemperedPosterior, batch_size: int, count: int, error: Exception) -> str:
    """Name the plate whose size is a number, or the error of the program."""
    structure = posterior.structure
    program = seeded(structure.run, jax.random.PRNGKey(0))
    frames: dict[str, int] = {}

    def look() -> None:
        for site in traced(program, posterior.arguments).values():
            for frame in site.get("cond_indep_stack", ()):
                frames[frame.name] = frame.size

    jax.eval_shape(look)
    size = len(posterior.weights)
    plates = [name for name, length in frames.items() if length == size]
    rows = structure.rows[0] if structure.rows else "x"
    local = [name for name, shape in structure.shapes if shape and shape[0] == size]
    if local:
        return (
            f"batch_size={batch_size}: site {local[0]!r} has a value for each of the {size} rows, "
            f"and a minibatch has {count}; write batch_size=none"
        )
    if plates:
        return (
            f"batch_size={batch_size}: plate {plates[0]!r} has the fixed size {size}, and a "
            f"minibatch has {count} rows; write plate({plates[0]!r}, {rows}.shape[0])"
        )
    reason = " ".join(str(error).split())[:160]
    return f"batch_size={batch_size}: the program fails on {count} of {size} rows ({reason})"
