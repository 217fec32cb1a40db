"""`sltprob list`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sltprob.cli._app import THEORY, app
from sltprob.cli._options import AsJson
from sltprob.cli._output import plain, print_json
from sltprob.spec import defaults

__all__ = ["list_"]


@app.command("list", rich_help_panel=THEORY)
def list_(
    what: Annotated[str, typer.Argument(metavar="models|samplers")], as_json: AsJson = False
) -> None:
    """List models or samplers with their options and defaults."""
    from sltprob import models, samplers

    if what not in ("models", "samplers"):
        raise ValueError(f"cannot list {what!r}; write sltprob list models or list samplers")
    registry = models.registry if what == "models" else samplers.registry
    rows: list[tuple[str, str, dict[str, Any]]] = []
    found, problems = registry.types()
    for problem in problems:
        sys.stderr.write(f"sltprob: {problem}\n")
    for name, cls in found.items():
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        options = defaults(cls)
        rows.append((name, summary, options))
    if as_json:
        print_json([{"name": n, "summary": s, "options": o} for n, s, o in rows])
        return
    table = Table(title=what, title_justify="left")
    for heading in ("name", "options and defaults", "what it is"):
        table.add_column(heading, overflow="fold")
    for name, summary, options in rows:
        lines = [f"{key}={plain(value)}" for key, value in options.items()]
        table.add_row(name, "\n".join(lines), summary)
    Console().print(table)
