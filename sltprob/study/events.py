"""What happens while a study runs, one object for each thing: for bars, lines and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Event", "Watch"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Parameters
    ----------
    kind : str
        ``begin`` (cells, stored, failed, to_run), ``taken_over`` (owner), ``damaged`` (file),
        ``running`` (key, cell, stage, draws, total, lambda_hat, mcse), ``finished`` (key, cell,
        lambda_hat, mcse, verdict), ``failed`` (key, cell, error) or ``end`` (finished, failed,
        seconds).
    detail : dict
        What can be written as JSON.
    """

    kind: str
    detail: dict[str, Any] = field(default_factory=dict)


type Watch = Callable[[Event], None]
