"""What `sltprob list` has found, kept so that the next one need not import JAX to find it again."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sltprob.cli._compilation import compilation_cache_folder
from sltprob.files import write_text

__all__ = ["listed"]


def listed(package: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Give name, summary and options of all that is registered, and what cannot be had, and why.

    It is read from the folder of compiled code while no file of this package has changed; what
    other distributions register is looked at each time.
    """
    place, state = compilation_cache_folder() / f"{package}.json", None
    if not entry_points(group=package):
        state = _state()
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(place.read_text(encoding="utf-8"))
            if found["state"] == state:
                return found["entries"], []
    entries, problems = _looked_up(package)
    if state is not None and not problems:
        # A home that cannot be written is no reason not to list.
        with suppress(OSError):
            write_text(json.dumps({"state": state, "entries": entries}), place)
    return entries, problems


def _state() -> list[Any]:
    """Say what the entries are made of: all Python files of this package, as they are now."""
    spec = find_spec("sltprob")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    files = sorted(
        file for home in spec.submodule_search_locations for file in Path(home).rglob("*.py")
    )
    stats = [(file, file.stat()) for file in files]
    return [sys.version, *([str(file), stat.st_mtime_ns, stat.st_size] for file, stat in stats)]


def _looked_up(package: str) -> tuple[list[dict[str, Any]], list[str]]:
    from sltprob import models, samplers
    from sltprob.spec import defaults

    kind = samplers if package == samplers.__name__ else models
    found, problems = kind.registry.types()
    entries = [
        {
            "name": name,
            "summary": (cls.__doc__ or "").strip().splitlines()[0],
            "options": defaults(cls),
        }
        for name, cls in found.items()
    ]
    return entries, problems
