"""What a kernel must return, held to before anything is compiled.

Only types and shapes are looked at, which are known as a program is traced: it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob import samplers
from sltprob.samplers.base import Sampler, Warmup

__all__ = ["checked_step", "checked_warmup"]

# What of the info of a step is one number for a draw, where the kernel has it.
_NUMBERS = ("num_gradients", "acceptance_rate", "diverging", "energy", "log_tilt", "noise_bias")
# What is recorded of every draw whatever the kernel says.
_RECORDED = (
    *("loss", "lp", "log_prior", "virial", "virial_offset", "loss_virial", "squared_gradient"),
    *("loss_field", "loss_field_energy", "energy_excess"),
)


def checked_warmup(sampler: Sampler, warmup: Any, chains: int) -> Warmup:
    """Give what a warm-up left behind, or say what it must be."""
    what = f"{samplers.specification(sampler)}.warmup returns"
    if not isinstance(warmup, Warmup):
        raise TypeError(
            f"{what} {_kind(warmup)}; return sltprob.samplers.base.Warmup(states, "
            "parameters, trace, num_gradients)"
        )
    for field, value in (("parameters", warmup.parameters), ("trace", warmup.trace)):
        if not isinstance(value, Mapping):
            raise TypeError(
                f"{what} {field} that are a {type(value).__name__}; return a dict of arrays"
            )
    for path, leaf in jax.tree.leaves_with_path(warmup.states):
        shape = jnp.shape(leaf)
        if shape[:1] != (chains,):
            raise TypeError(
                f"{what} states{jax.tree_util.keystr(path)} of shape {shape}; the first axis must "
                f"be that of the {chains} chains"
            )
    for name, value in warmup.trace.items():
        if jnp.ndim(value) != 2 or jnp.shape(value)[1] != chains:
            raise TypeError(
                f"{what} a trace with {name} of shape {jnp.shape(value)}; it must be of shape "
                f"(draw, chain), with {chains} chains"
            )
    _check_number(what, "num_gradients", warmup.num_gradients)
    return warmup


def checked_step(sampler: Sampler, before: Any, made: Any) -> tuple[Any, dict[str, Any]]:
    """Give the state and the info that a step returned, or say what they must be."""
    what = f"{samplers.specification(sampler)}.step returns"
    is_pair = isinstance(made, tuple) and len(made) == 2
    if not is_pair or not isinstance(made[1], Mapping):
        found = f"a pair with {_kind(made[1])} second" if is_pair else _kind(made)
        raise TypeError(
            f"{what} {found}; return (state, info) with an info such as "
            '{"num_gradients": jnp.asarray(1), "acceptance_rate": rate}'
        )
    state, info = made
    if "num_gradients" not in info:
        raise TypeError(
            f"{what} an info of {', '.join(map(str, info)) or 'nothing'}; it must have "
            '"num_gradients", the gradients on all data that the draw took, such as jnp.asarray(1)'
        )
    for name, value in info.items():
        if name in _RECORDED or "/" in name:
            why = "'/' may not be in a name" if "/" in name else "it is recorded of every draw"
            raise TypeError(f"{what} {name!r} in its info, but {why}; give it another name")
        _check_array(what, name, value)
        if name in _NUMBERS:
            _check_number(what, name, value)
    if (changed := _change(before, state)) is not None:
        raise TypeError(f"{what} a state of other types or shapes than it was given: {changed}")
    return state, dict(info)


def _form(leaf: Any) -> str:
    kind = getattr(leaf, "dtype", None) or jnp.result_type(leaf)  # keys have no other type
    return f"{kind}{list(jnp.shape(leaf))}"


def _change(before: Any, after: Any) -> str | None:
    """Say where two states differ first, if they do."""
    trees: list[Any] = [jax.tree.structure(before), jax.tree.structure(after)]
    if trees[0] != trees[1]:
        return "it must have the fields of the state that the warm-up made"
    pairs = zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, old), new in pairs:
        if _form(old) != _form(new):
            return f"state{jax.tree_util.keystr(path)} was {_form(old)} and is {_form(new)}"
    return None


def _check_array(what: str, name: str, value: Any) -> None:
    if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float):
        raise TypeError(f"{what} {name} that is {_kind(value)}; it must be an array of numbers")


def _check_number(what: str, name: str, value: Any) -> None:
    _check_array(what, name, value)
    if (shape := jnp.shape(value)) != ():
        raise TypeError(f"{what} {name} of shape {shape}; it must be one number, of shape ()")


def _kind(value: Any) -> str:
    return "an array" if isinstance(value, jax.Array) else f"a {type(value).__name__}"
