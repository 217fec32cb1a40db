"""What happens while a study runs, one object for each thing: for bars, lines and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Event", "Watch"]


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    # ``begin`` (cells, stored, failed, to_run, work), ``taken_over`` (owner), ``damaged`` (file),
    # ``waiting`` (scheduler: it has no worker yet), ``running`` (key, cell, work, stage, draws,
    # total, lambda_hat, mcse), ``finished`` (key, cell, work, lambda_hat, mcse, verdict),
    # ``failed`` (key, cell, work, error) or ``end`` (finished, failed, seconds). Work is the steps
    # of all chains, to estimate the time that is left.
    kind: str
    detail: dict[str, Any] = field(default_factory=dict)  # what can be written as JSON


type Watch = Callable[[Event], None]
