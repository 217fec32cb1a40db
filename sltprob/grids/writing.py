"""Write files whole or not at all: under another name, flushed to the disk, then renamed.

So a file that is there is complete, unless the disk itself changed it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["StoreError", "Writer", "store_error"]


class StoreError(OSError):
    """The folder cannot be written; the study stops, and goes on when it can be."""


def store_error(path: Path, error: OSError) -> StoreError:
    """Say in one line what cannot be written, and what to do."""
    return StoreError(
        f"{path}: cannot be written ({error.strerror or error}); what is stored stays: mend "
        "that, and 'sltprob study run' goes on"
    )


class Writer:
    """Writes files in one file system."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary

    def clean(self) -> None:
        """Remove what a killed run left half written; only while nobody else writes."""
        for left in self._temporary.iterdir():
            left.unlink(missing_ok=True)

    def write(self, files: Sequence[tuple[Path, bytes]]) -> None:
        """Write files, all on the disk when this returns."""

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
                raise store_error(path, error) from None
            finally:
                _remove(temporary)

        if len(files) == 1:
            put(*files[0])
        else:
            # Together: a journalling file system flushes many files in the time of a few.
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda file: put(*file), files))
        for folder in {path.parent for path, _ in files}:
            # Without this a power failure may take the name away again.
            _flush(folder)

    def write_with(self, path: Path, write: Callable[[Path], None]) -> None:
        """Let a library write a file."""
        temporary = self._temporary / secrets.token_hex(8)
        try:
            write(temporary)
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        except OSError as error:
            raise store_error(path, error) from None
        finally:
            _remove(temporary)


def _remove(path: Path) -> None:
    # Usually it was renamed; and what cannot be written can perhaps not be removed either.
    with contextlib.suppress(OSError):
        path.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
