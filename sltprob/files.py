"""Files are written whole or not at all, and nothing that exists is overwritten unless asked."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "new_file",
    "new_folder",
    "reserve",
    "whole",
    "writable_folder",
    "write_csv",
    "write_text",
]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; it becomes `path` once everything is on the disk."""
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(_cannot(path, error)) from None
    finally:
        # It is gone if all went well; what cannot be written can perhaps not be removed either.
        with suppress(OSError):
            temporary.unlink()


def _cannot(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written ({error.strerror or error})"


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def writable_folder(folder: Path) -> Path:
    """Make a folder if it is not there, and see that it can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permission bits do not tell all: a file system may be read-only, or full.
        probe = _temporary(folder / "probe")
        try:
            probe.write_bytes(b"probe")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(_cannot(folder, error)) from None
    return folder


def reserve(descriptor: int, size: int) -> None:
    """Fail now if a disk has no room for so many bytes, where it can tell."""
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(descriptor, 0, size)


def write_text(text: str, path: Path) -> Path:
    """Write a text file; one that exists is replaced."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path


def write_csv(
    rows: Iterable[Mapping[str, Any]], path: Path, columns: Sequence[str] | None = None
) -> Path:
    """Write rows as CSV, by default with the keys of the first; lists are joined by semicolons."""
    rows = list(rows)
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns or list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: ";".join(v) if isinstance(v, list) else v for key, v in row.items()}
            )
    return path


def new_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder that is new or empty and can be written, before anything is computed."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"out={path}: a file of that name exists; choose another folder")
    try:
        # What a killed process left half written is nothing.
        if path.is_dir() and not all(_is_temporary(entry) for entry in path.iterdir()):
            raise ValueError(f"out={path}: the folder is not empty; choose a new one")
    except OSError as error:
        raise ValueError(_cannot(path, error)) from None
    return writable_folder(path)


def new_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a file that exists or cannot be written, before anything is computed."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"out={path}: it is a folder; name a file, such as {path / path.name}")
    if path.exists() and not overwrite:
        raise ValueError(f"out={path}: the file exists; choose another name, or overwrite it")
    parent = path.absolute().parent
    existing = next(folder for folder in (parent, *parent.parents) if folder.exists())
    if not existing.is_dir():
        raise ValueError(f"out={path}: {existing} is a file; choose another folder")
    writable_folder(existing)
    return path
