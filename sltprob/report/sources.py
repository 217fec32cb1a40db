"""The literature behind a model or a sampler, read from its docstring without importing it.

What computes needs JAX; a report is made without it. A file of `sltprob.models` or
`sltprob.samplers` is named like the registry entry, so its text is found by name alone.
"""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from typing import Any

from sltprob import spec

__all__ = ["references"]


def references(kind: str, specification: str, attributes: Any) -> list[str]:
    """List the references of a model or a sampler."""
    own = attributes.get(f"{kind}_references", "")
    if own:
        return [line.strip() for line in str(own).splitlines() if line.strip()]
    try:
        name, _ = spec.parse(specification)
    except ValueError:
        return []
    if not re.fullmatch(r"[a-z]\w*", name, re.ASCII):
        return []
    path = files("sltprob") / f"{kind}s" / f"{name}.py"
    if not path.is_file():
        return []
    module = ast.parse(path.read_text(encoding="utf-8"))
    found = _references_of(ast.get_docstring(module) or "")
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            found += _references_of(ast.get_docstring(node) or "")
    return list(dict.fromkeys(found))


def _references_of(docstring: str) -> list[str]:
    _, heading, section = docstring.partition("References\n----------\n")
    if not heading:
        return []
    section = re.split(r"\n\n\S", section)[0]
    entries = re.split(r"^\s*\.\. \[\w+\]\s*|\n\s*\n", section, flags=re.MULTILINE)
    return [" ".join(entry.split()) for entry in entries if entry.strip()]
