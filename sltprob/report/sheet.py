"""A page of figures and tables that are not about runs: one HTML file that opens anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sltprob.files import write_text
from sltprob.report.figures import Figure
from sltprob.report.html import interactive, render

__all__ = ["SheetTable", "write_sheet"]


@dataclass(frozen=True)
class SheetTable:
    """A table of text."""

    caption: str
    headings: Sequence[str]  # with their units
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = ()  # the columns of words, which begin at the left


def write_sheet(
    path: str | os.PathLike[str],
    *,
    title: str,
    sentences: Sequence[str],
    figures: Sequence[Figure],
    tables: Sequence[SheetTable],
    sources: Sequence[str],
    command: str = "",
) -> Path:
    """Write a page as one HTML file, whole or not at all."""
    path = Path(path)
    empty = [figure.key for figure in figures if figure.spec is None]
    if empty:
        raise ValueError(f"figures {', '.join(empty)} have nothing to draw; leave them out")
    page = render(
        "report/sheet.html",
        title=title,
        sentences=sentences,
        figures=figures,
        tables=tables,
        sources=sources,
        command=command,
        **interactive({figure.key: figure.spec for figure in figures}),
    )
    return write_text(page, path)
