"""What a function computes, as a short text: so that what it reads outside its arguments counts.

A function object stays the same when a global, a closure or an attribute that it reads changes.
What was compiled for it before would go on computing with the old value, and nothing would tell.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from sltprob.posterior import TemperedPosterior

__all__ = ["Trace", "content_of", "trace_of", "trace_of_program"]

# Python's objects are shown with their address, which is another one in every trace.
_ADDRESS = re.compile(r"0x[0-9a-f]+")
# Types that are coarser than single precision, the coarsest first, as a trace shows them.
_COARSE = ("bf16", "f16")


class Trace(NamedTuple):
    """What a trace of a function says.

    Parameters
    ----------
    fingerprint : str
        Two of the same operations on the same constants are equal, in one version of JAX.
    form : pytree of jax.ShapeDtypeStruct
        What the function gives.
    coarse : str or None
        The coarsest floating type below single precision in which something is computed.
    indexes : bool
        Whether entries of an array are taken by numbers that are computed or given.
    """

    fingerprint: str
    form: Any
    coarse: str | None
    indexes: bool


def trace_of(function: Callable[..., Any], *arguments: Any) -> Trace:
    """Trace a function, and hash its operations and all constants in them.

    Parameters
    ----------
    function : callable
    *arguments : pytree of array or jax.ShapeDtypeStruct

    Returns
    -------
    Trace
    """

    def afresh(*given: Any) -> Any:  # JAX remembers its traces by function
        return function(*given)

    traced, form = jax.make_jaxpr(afresh, return_shape=True)(*arguments)
    text = _ADDRESS.sub("", str(traced.jaxpr))
    digest = hashlib.sha256(text.encode())
    for constant in _constants(traced):
        digest.update(content_of(constant).encode())
    coarse = next((name for name in _COARSE if re.search(rf"\b{name}\[", text)), None)
    indexes = re.search(r"\b(gather|dynamic_slice)\[", text) is not None
    return Trace(digest.hexdigest(), form, coarse, indexes)


def content_of(array: Any) -> str:
    """Stand for an array: its type, its shape and a hash of its bytes.

    Parameters
    ----------
    array : array or PRNG keys

    Returns
    -------
    str
    """
    if jnp.issubdtype(getattr(array, "dtype", np.float64), jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    values = np.asarray(array)
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes())
    return f"{values.dtype} {values.shape} {digest.hexdigest()}"


def trace_of_program(posterior: TemperedPosterior) -> Trace:
    """Trace what a program computes, with all that it reads outside its arguments.

    Parameters
    ----------
    posterior : TemperedPosterior

    Returns
    -------
    Trace
    """
    # All that may change without compiling again is an argument of the trace.
    held = replace(posterior, structure=replace(posterior.structure, fingerprint=""))
    place = {name: jnp.zeros(shape) for name, shape in posterior.structure.shapes}
    forms = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (held, place))
    return trace_of(lambda some, where: some.minibatch_logdensity(where, some.arguments), *forms)


def _constants(program: Any) -> Iterator[Any]:
    """Give the constants of a traced program, and of those that it calls."""
    yield from getattr(program, "consts", ())
    for equation in getattr(program, "jaxpr", program).eqns:
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(value):
                yield from _constants(value)


def _is_program(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "consts")
