"""The folder of a study: finished cells, failures, checkpoints, and what was found damaged.

    cells/KEY.HASH.npz     a finished run, by the key of its cell and the hash of the file
    failed/KEY.json        a cell that failed, and why
    partial/KEY/           what a long cell has done so far
    exact/HASH.json        exact values, computed once for each model and beta
    damaged/               files that did not have the hash of their name
    rows.jsonl             the summaries of finished cells; made again where it lacks some
    table.parquet          all cells in one table

Every file is written whole or not at all: under another name in ``temporary/``, flushed to the
disk, then renamed. So a file that is there is complete, unless the disk itself changed it, and
that is what the hash in the name is for.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import xarray as xr

from sltprob import packed
from sltprob.exact import Exact

__all__ = ["Store", "StoreError"]


class StoreError(OSError):
    """The folder cannot be written; the study stops, and goes on when it can be."""


class Store:
    """The files of a study.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"
        self.failed = folder / "failed"
        self.partial = folder / "partial"
        self.damaged = folder / "damaged"
        self.table = folder / "table.parquet"
        self._exact = folder / "exact"
        self._rows = folder / "rows.jsonl"
        self._temporary = folder / "temporary"

    def prepare(self) -> None:
        """Make the folders.

        Raises
        ------
        StoreError
            If they cannot be made.
        """
        try:
            for folder in (self.cells, self.failed, self.partial, self._exact, self._temporary):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._error(self.folder, error) from None

    def clean(self) -> None:
        """Remove what a killed run left half written; only while holding the lock."""
        for left in self._temporary.iterdir():
            left.unlink(missing_ok=True)

    # Finished cells

    def files(self) -> dict[str, str]:
        """List the finished cells.

        Returns
        -------
        dict of str to str
            File name by key.
        """
        if not self.cells.is_dir():
            return {}
        names = sorted(entry.name for entry in os.scandir(self.cells))
        return {name.partition(".")[0]: name for name in names if name.endswith(".npz")}

    def is_good(self, name: str) -> bool:
        """Check a finished cell against the hash in its name.

        Parameters
        ----------
        name : str

        Returns
        -------
        bool
        """
        try:
            with (self.cells / name).open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError:
            return False
        return found == name.split(".")[1]

    def set_aside(self, name: str) -> Path:
        """Move a damaged cell to where nothing reads it.

        Parameters
        ----------
        name : str

        Returns
        -------
        pathlib.Path
            Where it is now.
        """
        self.damaged.mkdir(exist_ok=True)
        aside = self.damaged / name
        while aside.exists():
            aside = self.damaged / f"{name}.{secrets.token_hex(2)}"
        (self.cells / name).rename(aside)
        return aside

    def save(self, runs: Sequence[tuple[str, xr.DataTree]]) -> list[str]:
        """Store finished cells, all on the disk when this returns.

        Parameters
        ----------
        runs : sequence of (key, run)

        Returns
        -------
        list of str
            The names of their files.

        Raises
        ------
        StoreError
            If the disk is full, or the folder cannot be written.
        """
        contents = [packed.pack(run) for _, run in runs]
        names = [
            f"{key}.{hashlib.sha256(content).hexdigest()}.npz"
            for (key, _), content in zip(runs, contents, strict=True)
        ]
        self._write([(self.cells / name, c) for name, c in zip(names, contents, strict=True)])
        return names

    def load(self, name: str) -> xr.DataTree:
        """Read a finished cell.

        Parameters
        ----------
        name : str

        Returns
        -------
        xarray.DataTree

        Raises
        ------
        ValueError
            If it does not have the hash of its name.
        """
        content = (self.cells / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != name.split(".")[1]:
            raise ValueError(
                f"{self.cells / name} is damaged; 'sltprob study run' moves it aside and runs "
                "the cell again"
            )
        return packed.unpack(content)

    # Their summaries

    def rows(self) -> dict[str, dict[str, Any]]:
        """Read the summaries kept so far.

        Returns
        -------
        dict of str to dict
            By file name.
        """
        found = {}
        if self._rows.is_file():
            for line in self._rows.read_bytes().splitlines():
                digest, _, text = line.partition(b" ")
                # A line that a killed run left torn, or that the disk changed, counts as not there.
                if digest == _short_hash(text):
                    row = json.loads(text)
                    found[row["file"]] = row
        return found

    def add_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep summaries; only one process does this, the one that holds the lock.

        Parameters
        ----------
        rows : iterable of mapping
            With the file name in ``file``.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        texts = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
        try:
            with self._rows.open("ab") as handle:
                # The newline in front ends a line that a killed run left torn.
                handle.write(b"".join(b"\n%b %b" % (_short_hash(text), text) for text in texts))
        except OSError as error:
            raise self._error(self._rows, error) from None

    # Failures

    def save_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Record that a cell failed.

        Parameters
        ----------
        key : str
        failure : mapping
            What `json` can write, with the reason in ``error``.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        text = json.dumps(dict(failure), ensure_ascii=False, indent=2) + "\n"
        self._write([(self.failed / f"{key}.json", text.encode())])

    def failures(self) -> dict[str, dict[str, Any]]:
        """Read all failures.

        Returns
        -------
        dict of str to dict
            By key.
        """
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.failed.glob("*.json")) if self.failed.is_dir() else ():
            try:
                found[path.stem] = json.loads(path.read_bytes())
            except ValueError:
                continue  # a damaged record: the cell counts as not run
        return found

    def forget_failure(self, key: str) -> None:
        """Remove the record of a failure.

        Parameters
        ----------
        key : str
        """
        (self.failed / f"{key}.json").unlink(missing_ok=True)

    # Pieces of long cells

    def partial_folder(self, key: str) -> Path:
        """Give the folder for the pieces of a cell that is not finished.

        Parameters
        ----------
        key : str

        Returns
        -------
        pathlib.Path
        """
        return self.partial / key

    def save_piece(self, path: Path, content: bytes) -> None:
        """Store a piece of a cell.

        Parameters
        ----------
        path : pathlib.Path
            In `partial_folder`.
        content : bytes

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        self._write([(path, content)])

    def drop_partial(self, key: str) -> None:
        """Remove the pieces of a cell that is finished.

        Parameters
        ----------
        key : str
        """
        shutil.rmtree(self.partial_folder(key), ignore_errors=True)

    # Exact values

    def exact(self, name: str, compute: Callable[[], Exact | None]) -> Exact | None:
        """Compute an exact value once, for all processes and all later runs.

        Parameters
        ----------
        name : str
            Of everything that determines it.
        compute : callable

        Returns
        -------
        Exact or None
            None where no exact value is known.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        path = self._exact / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
        try:
            kept = json.loads(path.read_bytes())
            if kept["name"] == name and kept["sha256"] == _hash(kept["value"]):
                return None if kept["value"] is None else Exact(**kept["value"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there yet, or damaged: compute it
        answer = compute()
        value = None if answer is None else asdict(answer)
        document = {"name": name, "value": value, "sha256": _hash(value)}
        self._write([(path, json.dumps(document).encode())])
        return answer

    def write_whole(self, path: Path, write: Callable[[Path], None]) -> None:
        """Let a library write a file, whole or not at all.

        Parameters
        ----------
        path : pathlib.Path
        write : callable
            Called with a temporary name.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        temporary = self._temporary / secrets.token_hex(8)
        try:
            write(temporary)
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        except OSError as error:
            raise self._error(path, error) from None
        finally:
            temporary.unlink(missing_ok=True)

    def _write(self, files: Sequence[tuple[Path, bytes]]) -> None:
        def put(path: Path, content: bytes) -> None:
            temporary = self._temporary / secrets.token_hex(8)
            try:
                path.parent.mkdir(exist_ok=True)
                with temporary.open("wb") as handle:
                    handle.write(content)
                    handle.flush()
                    os.fsync(handle.fileno())
                temporary.replace(path)
            except OSError as error:
                raise self._error(path, error) from None
            finally:
                temporary.unlink(missing_ok=True)

        if len(files) == 1:
            put(*files[0])
        else:
            # Together: a journalling file system flushes many files in the time of a few.
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda file: put(*file), files))
        for folder in {path.parent for path, _ in files}:
            # Without this a power failure may take the name away again.
            _flush(folder)

    def _error(self, path: Path, error: OSError) -> StoreError:
        return StoreError(
            f"{path}: cannot be written ({error.strerror or error}); what is stored stays: mend "
            "that, and 'sltprob study run' goes on"
        )


def _short_hash(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
