"""A posterior in words: what was read, never the data themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from sltprob.notebook import Described

__all__ = ["Described", "described"]

_MOST = 8  # names in a list before it is cut


def described(
    title: str,
    *,
    arguments: Mapping[str, Any],
    rows: str,
    sites: Mapping[str, tuple[int, ...]],
    numbers: Mapping[str, float],
) -> str:
    """Write the parts of a posterior, a line each."""
    data = _cut([f"{name} {jnp.shape(value)}" for name, value in arguments.items()])
    latent = _cut([f"{name} {shape or '()'}" for name, shape in sites.items()])
    values = ", ".join(f"{name} = {value:g}" for name, value in numbers.items())
    return f"{title}\n  data: {data}\n  rows: {rows}\n  sites: {latent}\n  {values}"


def _cut(names: list[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
