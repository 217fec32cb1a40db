"""One local run in one row: what sweeps, trajectories, their tables and pages have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from sltprob.diagnostics import diagnose
from sltprob.estimation import estimate

__all__ = ["Row", "rho_of", "row_of", "status_of", "table"]


@dataclass(frozen=True)
class Row:
    """What a local run says."""

    name: str
    nbeta: float
    gamma: float
    step_size: float
    loss: float  # L*, the loss of the trained parameters
    lambda_hat: float
    low: float
    high: float
    mcse: float
    rho: float
    verdict: str
    reason: str
    failed: str  # names of the checks that failed, the weightiest first
    seconds: float


def row_of(name: str, run: xr.DataTree, gamma: float | None = None) -> Row:
    """Judge a run, and put what it says in a row.

    A run on all data has the localisation as its prior, so that its γ must be told.
    """
    found, verdict = estimate(run), diagnose(run)
    rho = next((c.value for c in verdict.checks if c.name == "local_step_bias"), math.nan)
    attributes = run.attrs
    return Row(
        name,
        float(attributes["beta"]),
        float(attributes["localization"]) if gamma is None else gamma,
        float(attributes["step_size"]),
        float(attributes["minimum_loss"]),
        found.value,
        found.low,
        found.high,
        found.mcse,
        rho,
        verdict.status,
        verdict.reason,
        ", ".join(check.name for check in verdict.failed),
        float(attributes["seconds_total"]),
    )


def rho_of(row: Row) -> str:
    """Write ρ; a dash where λ̂ is not positive, and a part of it is nothing."""
    return f"{row.rho:.2f}" if math.isfinite(row.rho) else "–"


def status_of(row: Row) -> str:
    """Write the verdict with the checks that failed, as short as a cell of a table."""
    names = row.failed.split(", ") if row.failed else []
    shown = ", ".join(names[:2]) + (" …" if len(names) > 2 else "")
    return f"{row.verdict}: {shown}" if shown else row.verdict


def table(headings: Sequence[str], rows: list[list[str]]) -> str:
    """Write a table as aligned text."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [headings, *rows]
    ]
    return "\n".join(lines)
