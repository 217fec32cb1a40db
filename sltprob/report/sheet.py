"""A page of figures and tables that are not about runs: one HTML file that opens anywhere."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sltprob.report.figures import Figure
from sltprob.report.payload import compressed_json, plotly_hash, plotly_payload, script_hash

__all__ = ["SheetTable", "write_sheet"]


@dataclass(frozen=True)
class SheetTable:
    """A table of text."""

    caption: str
    headings: Sequence[str]  # with their units
    rows: Sequence[Sequence[str]]


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
    package = files("sltprob.report")
    script = (package / "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("sltprob", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("sheet.html").render(
        title=title,
        sentences=sentences,
        figures=figures,
        tables=tables,
        sources=sources,
        command=command,
        style=Markup((package / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        policy=f"{script_hash(script)} {plotly_hash()}",
        plotly=Markup(plotly_payload()),
        payload=Markup(compressed_json({figure.key: figure.spec for figure in figures})),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
