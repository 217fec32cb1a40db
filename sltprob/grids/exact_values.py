"""Exact values, computed once for each model and beta, for all processes and all later runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sltprob.exact import Exact
from sltprob.grids.writing import Writer

__all__ = ["ExactValues"]


class ExactValues:
    """A folder of exact values by the hash of what determines them."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self._folder = folder
        self._writer = writer

    def get(self, name: str, compute: Callable[[], Exact | None]) -> Exact | None:
        """Give an exact value, computed if it is not there."""
        path = self._folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
        try:
            kept = json.loads(path.read_bytes())
            if kept["name"] == name and kept["sha256"] == _hash(kept["value"]):
                return None if kept["value"] is None else Exact(**kept["value"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there yet, or damaged: compute it
        answer = compute()
        value = None if answer is None else asdict(answer)
        document = {"name": name, "value": value, "sha256": _hash(value)}
        self._writer.write([(path, json.dumps(document).encode())])
        return answer


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
