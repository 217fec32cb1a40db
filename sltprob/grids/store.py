"""The folder of a study: finished cells, failures, checkpoints, and what was found damaged.

    cells/KEY.HASH.npz     a finished run, by the key of its cell and the hash of the file
    failed/KEY.json        a cell that failed, and why
    partial/KEY/           what a long cell has done so far
    exact/HASH.json        exact values, computed once for each model and beta
    damaged/               files that did not have the hash of their name
    rows.jsonl             the summaries of finished cells; made again where it lacks some
    table.parquet          all cells in one table

Every file is written whole or not at all (`sltprob.grids.writing`). So a file that is there is
complete, unless the disk itself changed it, and that is what the hash in the name is for.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from sltprob import packed
from sltprob.grids.exact_values import ExactValues
from sltprob.grids.summaries import Summaries
from sltprob.grids.writing import Writer, store_error

__all__ = ["Store"]

# Read at once to be hashed: a small cell is one piece.
_PIECE = 2**16


class Store:
    """The files of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"
        self.failed = folder / "failed"
        self.partial = folder / "partial"
        self.damaged = folder / "damaged"
        self.table = folder / "table.parquet"
        self._exact = folder / "exact"
        self._temporary = folder / "temporary"
        self.writer = Writer(self._temporary)
        self.summaries = Summaries(folder / "rows.jsonl")
        self.exact_values = ExactValues(self._exact, self.writer)

    def prepare(self) -> None:
        """Make the folders."""
        try:
            for folder in (self.cells, self.failed, self.partial, self._exact, self._temporary):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(self.folder, error) from None

    # Finished cells

    def files(self) -> dict[str, str]:
        """List the finished cells."""
        if not self.cells.is_dir():
            return {}
        names = sorted(entry.name for entry in os.scandir(self.cells))
        return {name.partition(".")[0]: name for name in names if name.endswith(".npz")}

    def is_good(self, name: str) -> bool:
        """Check a finished cell against the hash in its name."""
        # Of ten thousand small files, Python's own reading takes twice the time of hashing them.
        digest = hashlib.sha256()
        try:
            handle = os.open(f"{self.cells}/{name}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                while content := os.read(handle, _PIECE):
                    digest.update(content)
            finally:
                os.close(handle)
        except OSError:
            return False
        return digest.hexdigest() == name.split(".")[1]

    def set_aside(self, name: str) -> Path:
        """Move a damaged cell to where nothing reads it."""
        try:
            self.damaged.mkdir(exist_ok=True)
            aside = self.damaged / name
            while aside.exists():
                aside = self.damaged / f"{name}.{secrets.token_hex(2)}"
            (self.cells / name).rename(aside)
        except OSError as error:
            raise store_error(self.damaged, error) from None
        return aside

    def save(self, runs: Sequence[tuple[str, xr.DataTree]]) -> list[str]:
        """Store finished cells, all on the disk when this returns."""
        contents = [packed.pack(run) for _, run in runs]
        names = [
            f"{key}.{hashlib.sha256(content).hexdigest()}.npz"
            for (key, _), content in zip(runs, contents, strict=True)
        ]
        paths = [self.cells / name for name in names]
        self.writer.write(list(zip(paths, contents, strict=True)))
        return names

    def load(self, name: str) -> xr.DataTree:
        """Read a finished cell."""
        content = (self.cells / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != name.split(".")[1]:
            raise ValueError(
                f"{self.cells / name} is damaged; 'sltprob study run' moves it aside and runs "
                "the cell again"
            )
        return packed.unpack(content)

    # Failures

    def save_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Record that a cell failed."""
        text = json.dumps(dict(failure), ensure_ascii=False, indent=2) + "\n"
        self.writer.write([(self.failed / f"{key}.json", text.encode())])

    def failures(self) -> dict[str, dict[str, Any]]:
        """Read all failures."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.failed.glob("*.json")) if self.failed.is_dir() else ():
            try:
                found[path.stem] = json.loads(path.read_bytes())
            except ValueError:
                continue  # a damaged record: the cell counts as not run
        return found

    def forget_failure(self, key: str) -> None:
        """Remove the record of a failure."""
        (self.failed / f"{key}.json").unlink(missing_ok=True)

    # Pieces of long cells

    def partial_folder(self, key: str) -> Path:
        """Give the folder for the pieces of a cell that is not finished."""
        return self.partial / key

    def save_piece(self, path: Path, content: bytes) -> None:
        """Store a piece of a cell."""
        self.writer.write([(path, content)])

    def drop_partial(self, key: str) -> None:
        """Remove the pieces of a cell that is finished."""
        shutil.rmtree(self.partial_folder(key), ignore_errors=True)
