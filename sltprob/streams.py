"""Data that are no arrays in memory: memory maps, Zarr arrays, iterators of batches.

A run asks for the rows of some hundred steps at a time, while the ones before are computed.
"""

from __future__ import annotations

import abc
import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

__all__ = ["ArrayStream", "BatchStream", "Stream", "as_stream"]

# So many batches in a row of another shape than the first are no end of an epoch.
_MOST_OTHERS = 100


class Stream(abc.ABC):
    """Where the rows of a posterior come from, batch by batch."""

    num_rows: int  # 0 where it is not known
    tree: Any  # structure of a batch

    @abc.abstractmethod
    def example(self, size: int) -> list[np.ndarray]:
        """Give some rows, to learn shapes from."""


class ArrayStream(Stream):
    """Rows of arrays on disk, such as `numpy.memmap` or a Zarr array, read by their numbers.

    Parameters
    ----------
    data : pytree of arrays, shape (n, ...)
        Anything that gives rows for an array of row numbers in ascending order.

    Raises
    ------
    ValueError
        If the arrays disagree about their number of rows.
    """

    def __init__(self, data: Any) -> None:
        self.arrays, self.tree = jax.tree.flatten(data, is_leaf=_is_lazy)
        lengths = {int(array.shape[0]) if len(array.shape) else 0 for array in self.arrays}
        if len(lengths) != 1 or not min(lengths):
            raise ValueError(
                f"the first axes of the data are {[tuple(a.shape) for a in self.arrays]}; every "
                "array must have one row per datum"
            )
        (self.num_rows,) = lengths

    def example(self, size: int) -> list[np.ndarray]:
        """Give the first rows."""
        return self.rows(np.arange(min(size, self.num_rows)))

    def rows(self, chosen: np.ndarray) -> list[np.ndarray]:
        """Read rows by number; of files in chunks each once and in their order."""
        return [_read(array, chosen) for array in self.arrays]


class BatchStream(Stream):
    """Batches from an iterator, such as a data loader; begun anew when they end.

    Parameters
    ----------
    batches : iterable of pytree of arrays, or callable
        Every batch has the same shapes; a callable gives a new iterator each time.
    num_rows : int
        n, where it is known; `nbeta` must be a number where it is not.

    Raises
    ------
    ValueError
        If there is no batch, or the first is none of arrays with one row per datum.
    """

    def __init__(self, batches: Iterable[Any] | Callable[[], Iterable[Any]], num_rows: int = 0):
        self.batches = batches
        self.num_rows = num_rows
        self._iterator = self._begin()
        first = next(self._iterator, None)
        if first is None:
            raise ValueError("the iterator of batches is empty; give at least one batch")
        leaves, self.tree = jax.tree.flatten(first)
        self._first: list[np.ndarray] | None = _batch(leaves)
        self._example = self._first  # kept: to look at rows must not use up a batch
        self.shapes = [leaf.shape for leaf in self._example]

    def _begin(self) -> Iterator[Any]:
        return iter(self.batches() if callable(self.batches) else self.batches)

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""
        return int(self.shapes[0][0])

    def example(self, size: int) -> list[np.ndarray]:
        """Give the first rows of the first batch."""
        return [leaf[:size] for leaf in self._example]

    def next(self) -> list[np.ndarray]:
        """Give the next batch of full size, from the beginning again after the last."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        others: list[list[Any]] = []
        for _ in range(2):
            for batch in self._iterator:
                leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(batch)]
                if [leaf.shape for leaf in leaves] == self.shapes:
                    return leaves  # the last batch of an epoch may be smaller, and is left out
                others.append([leaf.shape for leaf in leaves])
                if len(others) == _MOST_OTHERS:
                    break
            if len(others) == _MOST_OTHERS:
                break
            self._iterator = self._begin()
        if others:
            raise ValueError(
                f"{len(others)} batches in a row, the last of shapes {others[-1]}, differ from the "
                f"first, of shapes {self.shapes}; give batches of the same shapes"
            )
        raise ValueError(
            "the iterator of batches has ended and cannot begin again; give a data loader, or a "
            "function that makes a new iterator, such as lambda: batches"
        )


def as_stream(data: Any) -> Stream | None:
    """Wrap what is no set of arrays in memory; None where all are."""
    if isinstance(data, Stream):
        return data
    if hasattr(data, "__next__") or callable(data) or _is_loader(data):
        return BatchStream(data)
    leaves = jax.tree.leaves(data, is_leaf=_is_lazy)
    return ArrayStream(data) if any(_is_lazy(leaf) for leaf in leaves) else None


def _read(array: Any, chosen: np.ndarray) -> np.ndarray:
    """Read rows of one array."""
    flat = chosen.ravel()
    if isinstance(array, np.ndarray):
        read = _aligned((len(flat), *array.shape[1:]), array.dtype)
        # Clipping reads straight into place; the numbers are of rows that exist.
        np.take(array.view(np.ndarray), flat, axis=0, out=read, mode="clip")
        return read.reshape(*chosen.shape, *array.shape[1:])
    if flat[-1] - flat[0] + 1 == len(flat) and np.all(np.diff(flat) == 1):
        read = np.asarray(array[int(flat[0]) : int(flat[-1]) + 1])
    else:
        ordered, back = np.unique(flat, return_inverse=True)
        read = np.asarray(array.oindex[ordered] if hasattr(array, "oindex") else array[ordered])
        read = read[back]
    return read.reshape(*chosen.shape, *read.shape[1:])


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Make an array that begins where JAX takes one over without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def _batch(leaves: list[Any]) -> list[np.ndarray]:
    """Check the first batch: every array has its rows."""
    found = [np.asarray(leaf) for leaf in leaves]
    for array in found:
        if array.dtype.kind in "OSUMm":
            raise ValueError(
                f"the first batch holds {array.dtype}, such as {reprlib.repr(array.ravel()[:1])}; "
                "give arrays of numbers"
            )
    counts = {array.shape[0] if array.ndim else 0 for array in found}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"the arrays of the first batch have shapes {[array.shape for array in found]}; each "
            "must have one row per datum, the same number in all"
        )
    return found


def _is_loader(data: Any) -> bool:
    """Tell a data loader from a container that JAX knows, a table or an array."""
    known = isinstance(data, str | bytes | Mapping) or any(
        hasattr(data, name) for name in ("shape", "dtype", "__array__")
    )
    return not known and hasattr(data, "__iter__") and jax.tree_util.all_leaves([data])


def _is_lazy(leaf: Any) -> bool:
    if isinstance(leaf, np.memmap):
        return True
    in_memory = isinstance(leaf, np.ndarray | jax.Array | np.generic)
    return not in_memory and hasattr(leaf, "shape") and hasattr(leaf, "chunks")
