"""The summaries of finished cells, one to a line: what a table needs without reading any draws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sltprob.grids.writing import store_error

__all__ = ["Summaries"]


class Summaries:
    """Lines of JSON in a file that only grows, each with its own hash.

    A line that a killed run left torn, or that the disk changed, counts as not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """Read the summaries kept so far."""
        found = {}
        if self._path.is_file():
            for line in self._path.read_bytes().splitlines():
                digest, _, text = line.partition(b" ")
                if digest == _hash(text):
                    row = json.loads(text)
                    found[row["file"]] = row
        return found

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep summaries; only one process does this, the one that holds the lock."""
        texts = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
        try:
            with self._path.open("ab") as handle:
                # The newline in front ends a line that a killed run left torn.
                handle.write(b"".join(b"\n%b %b" % (_hash(text), text) for text in texts))
        except OSError as error:
            raise store_error(self._path, error) from None


def _hash(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()
