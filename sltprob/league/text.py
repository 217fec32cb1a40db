"""The league table as Markdown and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

from sltprob.league.columns import LEAGUE_COLUMNS
from sltprob.league.groups import grouped, league_sentences
from sltprob.league.standing import STANDING_FIELDS, Standing

__all__ = ["league_csv", "league_markdown"]


def league_csv(rows: Sequence[Standing]) -> str:
    """Write a league table as CSV, in full precision and in the order of the rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(STANDING_FIELDS)
    for row in rows:
        values = dataclasses.asdict(row).values()
        writer.writerow("" if value is None else value for value in values)
    return buffer.getvalue()


def league_markdown(rows: Sequence[Standing]) -> str:
    """Write a league table as Markdown, one table for each model and beta, with its legend."""
    headings = ["sampler", *(column.heading for column in LEAGUE_COLUMNS)]
    lines = [*league_sentences(rows)[:1], ""]
    for group in grouped(rows):
        lines += [f"## {_escaped(group.title)}", "", _line(headings)]
        lines.append(_line(["---", *("---:" for _ in LEAGUE_COLUMNS)]))
        for row in group.rows:
            cells = [column.text(row) for column in LEAGUE_COLUMNS]
            lines.append(_line([f"`{row.sampler}`", *map(_escaped, cells)]))
        absent = [row for row in group.rows if row.reason is not None]
        lines += ["", *(f"- `{row.sampler}` does not apply: {row.reason}." for row in absent)]
        lines += [""] if absent else []
    lines += ["## Columns", ""]
    lines += [f"- **{column.heading}**: {column.meaning}" for column in LEAGUE_COLUMNS]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    for character in "\\`*_[]|":
        text = text.replace(character, "\\" + character)
    return text
