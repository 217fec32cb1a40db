"""The draws that a run has kept, read in pieces: a file of them may be larger than the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

__all__ = ["KeptSite"]

# Bytes of draws that are looked at together, and of single coordinates of all draws.
_PIECE, _COLUMNS = 2**24, 2**27


@dataclass(frozen=True)
class KeptSite:
    """The draws of one site, in memory or in a file that is open."""

    name: str
    variable: xr.Variable  # shape (chain, draw, ...)

    @property
    def draws(self) -> int:
        """Number of draws in all chains."""
        return self.variable.shape[0] * self.variable.shape[1]

    @property
    def coordinates(self) -> int:
        """Number of values that a draw has."""
        return int(np.prod(self.variable.shape[2:], dtype=int))

    def pieces(self) -> Iterator[np.ndarray]:
        """Give the draws chain after chain, shape (some draws, coordinate)."""
        chains, draws = self.variable.shape[:2]
        many = 1 + draws * self.coordinates * self.variable.dtype.itemsize // _PIECE
        edges = [draws * part // many for part in range(many + 1)]
        for chain in range(chains):
            for start, stop in pairwise(edges):
                try:
                    values = np.asarray(self.variable[chain, start:stop].values)
                except Exception as error:  # h5py raises anything on a damaged file
                    where = self.variable.encoding.get("source", "the run")
                    raise ValueError(
                        f"{where}: posterior/{self.name} cannot be read ({error})"
                    ) from error
                yield values.reshape(stop - start, self.coordinates)

    @property
    def is_finite(self) -> bool:
        """Whether there are draws, and every value of them is finite."""
        return self.draws * self.coordinates > 0 and all(
            bool(np.all(np.isfinite(piece))) for piece in self.pieces()
        )

    def spread(self) -> np.ndarray:
        """Give how far a draw's coordinates lie apart, or its size where there is one of them."""
        return np.concatenate(
            [
                piece.std(axis=1) if self.coordinates > 1 else np.abs(piece[:, 0])
                for piece in self.pieces()
            ]
        )

    def columns(self, most: int) -> Iterator[tuple[str, np.ndarray]]:
        """Give the length of the site and its first coordinates, with names as ArviZ has them."""
        finite = np.ones(self.coordinates, dtype=bool)
        lengths = []
        for piece in self.pieces():
            finite &= np.all(np.isfinite(piece), axis=0)
            if self.coordinates > 1:
                lengths.append(np.linalg.norm(piece, axis=1))
        if lengths and np.all(finite):
            # A cross has arms along all axes, which no single coordinate tells from its middle.
            yield f"the length of {self.name}", np.concatenate(lengths)
            most -= 1
        numbers = [number for number in range(min(self.coordinates, most)) if finite[number]]
        itemsize = self.variable.dtype.itemsize
        together = max(1, _COLUMNS // max(1, self.draws * itemsize))
        for start in range(0, len(numbers), together):
            chosen = numbers[start : start + together]
            columns = np.concatenate([piece[:, chosen].T for piece in self.pieces()], axis=1)
            for number, column in zip(chosen, columns, strict=True):
                yield self._label(number), column

    def _label(self, number: int) -> str:
        shape = self.variable.shape[2:]
        index = ", ".join(map(str, np.unravel_index(number, shape))) if shape else ""
        return f"{self.name}[{index}]" if index else self.name
