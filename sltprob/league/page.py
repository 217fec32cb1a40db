"""The league table as a page."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from sltprob.files import write_text
from sltprob.league.columns import LEAGUE_COLUMNS
from sltprob.league.groups import Group, grouped, league_sentences
from sltprob.league.overview import overview
from sltprob.league.standing import Standing
from sltprob.report.html import render
from sltprob.report.numbers import inverse_temperature

__all__ = ["write_league"]


def write_league(rows: Sequence[Standing], path: str | os.PathLike[str], *, command: str) -> Path:
    """Write a league table as one HTML file, whole or not at all."""
    path = Path(path)
    page = render(
        "league/page.html",
        title="League table of samplers",
        headline=league_sentences(rows)[0],
        overview=overview(rows),
        groups=[(group, _with_bars(group)) for group in grouped(rows)],
        write_beta=inverse_temperature,
        columns=LEAGUE_COLUMNS,
        command=command,
    )
    return write_text(page, path)


def _with_bars(group: Group) -> list[tuple[Standing, int]]:
    """Give every row a bar, percent long: its gradients to 5 % on a logarithmic scale."""
    costs = [row.gradients_to_accuracy for row in group.rows]
    known = [math.log(cost) for cost in costs if cost]
    lengths = []
    for cost in costs:
        # The cheapest has a bar too, of one tenth of the scale.
        span = max(known) - min(known) if known else 0.0
        share = (math.log(cost) - min(known)) / span if cost and span else 0.0
        lengths.append(round(10 + 90 * share) if cost else 0)
    return list(zip(group.rows, lengths, strict=True))
