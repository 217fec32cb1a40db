"""What a program is given: arrays of numbers, checked at the door, and constants.

Whatever holds a table (NumPy, JAX, pandas, polars, xarray, PyTorch) is turned into arrays here.
What is missing, infinite, no number or too large for 32 bits is named with its row before anything
compiles.
"""

from __future__ import annotations

import inspect
import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.fingerprint import content_of

__all__ = ["FixedArray", "as_array", "check_call", "in_precision", "split_arguments"]

# Single precision may move a column by so much of its spread.
_LARGEST_SHIFT = 1e-3


class FixedArray:
    """An array into whose values a program looks, as for a number of groups: a constant.

    Two of the same values are equal.
    """

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self._content = content_of(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedArray) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        return f"FixedArray({self._content})"


def split_arguments(
    given: Mapping[str, Any],
) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """Split arguments into arrays, and constants such as sizes, flags and names."""
    arrays, constants = {}, []
    for name, value in given.items():
        if _is_data(value):
            what = f"data[{name!r}]"
            arrays[name] = in_precision(as_array(value, what), what)
            continue
        try:
            hash(value)
        except TypeError:
            raise ValueError(
                f"data[{name!r}] is a {type(value).__name__}; give an array of numbers, or a "
                "constant that can be hashed, such as a tuple"
            ) from None
        constants.append((name, value))
    return arrays, tuple(constants)


def check_call(program: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse data that are not the arguments of a program."""
    try:
        signature = inspect.signature(program)
    except (TypeError, ValueError):  # a callable that does not tell
        return
    try:
        signature.bind(**given)
    except TypeError as error:
        raise ValueError(
            f"the program {getattr(program, '__name__', program)}{signature} cannot be called with "
            f"data of {', '.join(map(repr, given)) or 'nothing'}: {error}"
        ) from None


def _is_data(value: Any) -> bool:
    # A tuple stays a constant, such as a shape; a Python float may change without compiling again.
    return isinstance(value, float | list | np.ndarray | np.generic | jax.Array) or (
        hasattr(value, "__array__") and not isinstance(value, type)
    )


def as_array(value: Any, what: str) -> Any:
    """Give an array of finite numbers, or name what is wrong and where."""
    if isinstance(value, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(value)
        if hidden.any():
            raise _wrong(what, "is masked", hidden, "leave such rows out")
        value = value.data
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{what} has rows of different lengths; give an array with one shape for every row"
        ) from None
    if isinstance(array, np.ndarray) and array.dtype.kind not in "fiub":
        array = _numbers(array, what)
    elif not any(jnp.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
        raise ValueError(f"{what} is {array.dtype}; give real numbers")
    if array.ndim and array.shape[0] == 0:
        raise ValueError(f"{what} has no rows; the table is empty")
    if jnp.issubdtype(array.dtype, np.floating):
        bad = ~np.isfinite(np.asarray(array))
        if bad.any():
            kind = "nan" if np.isnan(np.asarray(array)[bad]).any() else "infinite"
            raise _wrong(what, f"is {kind}", bad, "leave such rows out, or fill them in")
    return array


def in_precision(array: Any, what: str, dtype: Any = None) -> jax.Array:
    """Give JAX an array, and refuse one that single precision would change.

    Without JAX's double precision whole numbers have 32 bits, and those beyond come out as others.
    """
    with np.errstate(over="ignore"):
        held = jnp.asarray(array, dtype)
    before, after = np.asarray(array), np.asarray(held)
    if before.dtype == after.dtype:
        return held
    advice = "write numpyro.enable_x64() before, or shift and scale it"
    if before.dtype.kind in "iu":
        other = before != after
        if other.any():
            raise _wrong(what, f"has whole numbers beyond {8 * after.itemsize} bits", other, advice)
    elif before.dtype.kind == "f" and before.size:
        exact = before.astype(float)
        shift = np.abs(exact - after.astype(float))
        if not np.isfinite(shift).all():
            raise _wrong(what, f"is beyond {after.dtype}", ~np.isfinite(shift), advice)
        spread = exact.std(axis=0)
        coarse = shift > np.where(spread > 0, _LARGEST_SHIFT * spread, np.inf)
        if coarse.any():
            raise _wrong(
                what, f"varies by less than {after.dtype} can tell beside its size", coarse, advice
            )
    return held


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    """Turn objects that are numbers into numbers, and say of what is none what to do."""
    if array.dtype.kind == "c":
        raise ValueError(f"{what} is complex; give real and imaginary parts as two arguments")
    if array.dtype.kind in "mM":
        raise ValueError(f"{what} holds dates or times; give numbers, such as days since the first")
    if array.dtype.kind == "V":
        raise ValueError(f"{what} is a structured array; give every field as an argument")
    missing = np.asarray(np.frompyfunc(_is_missing, 1, 1)(array), dtype=bool)
    if missing.any():
        raise _wrong(what, "is missing (nan)", missing, "leave such rows out, or fill them in")
    text = np.frompyfunc(lambda item: isinstance(item, str | bytes), 1, 1)(array)
    text = np.asarray(text, dtype=bool)
    if text.any():
        example = array[tuple(np.argwhere(text)[0])]
        shown = reprlib.repr(example)  # it may be as long as the file
        raise _wrong(
            what, f"is text ({shown})", text, "encode it as numbers, such as pandas.factorize"
        )
    try:
        numbers = np.array(array.tolist())
        if numbers.dtype.kind in "fiub" and numbers.shape == array.shape:
            return numbers
        return array.astype(float)
    except (TypeError, ValueError):
        if array.ndim == 0:
            raise ValueError(
                f"{what} is a {type(array.item()).__name__}; give an array of numbers"
            ) from None
        raise ValueError(
            f"{what} holds objects or rows of different lengths; give an array of numbers with one "
            "shape for every row"
        ) from None


def _is_missing(item: Any) -> bool:
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(item, float) and math.isnan(item)


def _wrong(what: str, how: str, where: Any, instead: str) -> ValueError:
    """Say where the first bad element stands, and how many rows have one."""
    where = np.asarray(where)
    if where.ndim == 0:
        return ValueError(f"{what} {how}; {instead}")
    first = np.argwhere(where)[0]
    place = f"row {first[0]}" + (f", column {first[1]}" if len(first) == 2 else "")
    rows = where.reshape(len(where), -1).any(axis=1)
    count = f" ({rows.sum()} of {len(rows)} rows)" if len(rows) > 1 else ""
    return ValueError(f"{what} {how} in {place}{count}; {instead}")
