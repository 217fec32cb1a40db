"""Files that a command writes: nothing that exists is overwritten."""

from __future__ import annotations

import csv
import os
import secrets
import sys
import webbrowser
from pathlib import Path
from typing import Any

from sltprob.cell import CELL_FIELDS

__all__ = [
    "check_new_file",
    "file_name",
    "new_folder",
    "open_in_browser",
    "write_csv",
    "write_text",
]


def new_folder(path: Path) -> Path:
    """Make a folder that is new or empty and can be written."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path}: a file of that name exists; choose another folder")
    try:
        if path.is_dir() and any(path.iterdir()):
            raise ValueError(f"--out {path}: the folder is not empty; choose a new one")
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"--out {path}: cannot be written ({error.strerror})") from None
    return path


def open_in_browser(path: Path) -> None:
    """Open a page in the browser of the person at the machine, if there is one."""
    if not webbrowser.open(path.absolute().as_uri()):
        sys.stderr.write(f"sltprob: no browser here; open {path} yourself\n")


def check_new_file(path: Path) -> None:
    """Refuse a file that exists or cannot be written, before anything is computed."""
    if path.exists():
        raise ValueError(f"--out {path}: the file exists; choose another name")
    parent = path.absolute().parent
    existing = next(folder for folder in (parent, *parent.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"--out {path}: the folder cannot be written")


def file_name(cell: dict[str, Any]) -> str:
    """Name a run so that a person recognises it, and any file system takes it."""
    safe = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in cell["sampler"])
    return f"{safe.strip('-')}-beta{cell['beta']:g}-seed{cell['seed']}"


def write_csv(cells: list[dict[str, Any]], path: Path) -> None:
    """Write cells as CSV, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, CELL_FIELDS)
        writer.writeheader()
        for cell in cells:
            writer.writerow({**cell, "failed_checks": ";".join(cell["failed_checks"])})
    temporary.replace(path)


def write_text(text: str, path: Path) -> None:
    """Write a text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
