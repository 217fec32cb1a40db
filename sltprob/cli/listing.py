"""`sltprob list`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sltprob.cli._app import THEORY, app
from sltprob.cli._listed import listed
from sltprob.cli._options import AsJson
from sltprob.cli._output import plain, print_json

__all__ = ["list_"]


@app.command("list", rich_help_panel=THEORY)
def list_(
    what: Annotated[str, typer.Argument(metavar="models|samplers")], as_json: AsJson = False
) -> None:
    """List models or samplers with their options and defaults."""
    if what not in ("models", "samplers"):
        raise ValueError(f"cannot list {what!r}; write sltprob list models or list samplers")
    entries, problems = listed(f"sltprob.{what}")
    for problem in problems:
        sys.stderr.write(f"sltprob: {problem}\n")
    if as_json:
        print_json(entries)
        return
    table = Table(title=what, title_justify="left")
    for heading in ("name", "options and defaults", "what it is"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        lines = [f"{key}={plain(value)}" for key, value in entry["options"].items()]
        table.add_row(entry["name"], "\n".join(lines), entry["summary"])
    Console().print(table)
