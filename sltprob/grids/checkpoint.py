"""What a long cell has done so far, in files: the warm-up, then the draws, piece by piece."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sltprob.grids.store import Store

__all__ = ["CellCheckpoint"]


class CellCheckpoint:
    """Keep the pieces of one cell, for `sltprob.sample`.

    The files are numbered and carry their own hash. A damaged file, and all after it, count as
    not there: they are made again.
    """

    def __init__(self, store: Store, key: str, seconds: float) -> None:
        self._store = store
        self._folder = store.partial_folder(key)
        self._seconds = seconds
        self._last = time.monotonic()
        self._waiting: list[list[np.ndarray]] = []
        self._files = 0
        self._pieces = 0
        self._clean = False

    def restore(self) -> Iterator[list[np.ndarray]]:
        """Give back the pieces saved so far, in order."""
        while (content := self._read(self._path(self._files))) is not None:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                if arrays["first"] != self._pieces:
                    return  # of another worker, which cut its pieces in another way
                lengths = arrays["lengths"]
                leaves = iter([arrays[f"leaf{index}"] for index in range(int(lengths.sum()))])
            self._files += 1
            self._pieces += len(lengths)
            for length in lengths:
                yield [next(leaves) for _ in range(length)]

    def save(self, piece: list[np.ndarray]) -> None:
        """Keep one more piece."""
        self._waiting.append(piece)
        if time.monotonic() - self._last < self._seconds:
            return
        if not self._clean:
            # What came after a damaged file belongs to pieces cut in another way.
            later = self._files
            while self._path(later).exists() or self._path(later + 1).exists():
                self._path(later).unlink(missing_ok=True)
                later += 1
            self._clean = True
        leaves = [leaf for piece in self._waiting for leaf in piece]
        arrays = {f"leaf{index}": leaf for index, leaf in enumerate(leaves)}
        buffer = io.BytesIO()
        lengths = np.array([len(piece) for piece in self._waiting])
        np.savez(buffer, first=self._pieces, lengths=lengths, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        digest = hashlib.sha256(content).digest()
        self._store.save_piece(self._path(self._files), digest + content)
        self._files += 1
        self._pieces += len(self._waiting)
        self._waiting = []
        self._last = time.monotonic()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}"

    def _read(self, path: Path) -> bytes | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        good = content[:32] == hashlib.sha256(content[32:]).digest()
        return content[32:] if good else None
