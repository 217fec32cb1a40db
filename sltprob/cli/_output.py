"""What commands print: tables, verdicts and JSON."""

from __future__ import annotations

import json
import math
import sys
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich.box
import rich.markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sltprob.progress import COLOURS

if TYPE_CHECKING:
    import xarray as xr

    from sltprob.diagnostics import Check, Verdict

__all__ = [
    "json_text",
    "narrow_table",
    "number",
    "open_in_browser",
    "plain",
    "print_checks",
    "print_json",
    "print_rows",
    "print_table",
    "print_trace",
    "print_verdict",
    "say",
]


def say(*sentences: str) -> None:
    """Print sentences as they are, one a line, which only the terminal breaks."""
    for sentence in sentences:
        Console().print(sentence, soft_wrap=True, highlight=False, markup=False)


def narrow_table(title: str | None = None) -> Table:
    """Begin a table without frame or padding, so that many columns fit."""
    return Table(
        # As text: the brackets of a model's options are no markup.
        title=None if title is None else Text(title),
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )


def print_rows(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    words: Sequence[str] = (),
) -> None:
    """Print a table of text: the columns of these headings hold words, all others numbers."""
    table = Table(
        title=Text(title), title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in headings:
        if heading in words:
            table.add_column(heading, overflow="fold", min_width=7)
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(rich.markup.escape, row))
    Console().print(table)


def number(value: float | None, digits: int = 4) -> str:
    """Write a number, a dash for one that does not exist."""
    return "–" if value is None else f"{value:.{digits}g}"


def _short(count: float) -> str:
    """Write a large count in four characters: 1.2M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{suffix}"
    return f"{count:.3g}"


def plain(value: Any) -> str:
    """Write the value of an option as it is typed."""
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _time(cell: dict[str, Any]) -> str:
    """Write the time of warm-up and sampling, as far as it is known."""
    seconds = cell["seconds_sampling"], cell["seconds_warmup"]
    known = [value for value in seconds if math.isfinite(value)]
    return f"{sum(known):.1f} s" if known else "–"


def open_in_browser(path: Path) -> None:
    """Open a page in the browser of the person at the machine, if there is one."""
    if not webbrowser.open(path.absolute().as_uri()):
        sys.stderr.write(f"sltprob: no browser here; open {path} yourself\n")


def print_table(cells: list[dict[str, Any]], title: str) -> None:
    """Print one row for each cell."""
    from sltprob.cell import name_of_truth

    # Nine columns and a sampler with options on 80 characters.
    table = narrow_table(title)
    table.add_column("sampler", overflow="fold", min_width=9)
    for heading in ("λ̂ ± MCSE", name_of_truth(cells), "z", "ESS", "ESS/s", "gradients", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for cell in cells:
        seconds = cell["seconds_sampling"]
        per_second = None if cell["ess"] is None or not seconds > 0 else cell["ess"] / seconds
        table.add_row(
            rich.markup.escape(cell["sampler"]),
            f"{number(cell['lambda_hat'])} ± {number(cell['mcse'], 2)}",
            number(cell["exact"]),
            "–" if cell["z"] is None else f"{cell['z']:+.1f}",
            "–" if cell["ess"] is None else f"{cell['ess']:.0f}",
            "–"
            if per_second is None
            else f"{per_second:.3g}"
            if per_second < 100
            else f"{per_second:.0f}",
            _short(cell["gradients"]),
            _time(cell),
            f"[{COLOURS[cell['verdict']]}]{cell['verdict']}[/]",
        )
    Console().print(table)
    Console().print()


def print_trace(draws: xr.DataTree) -> None:
    """Print the loss of every chain in one line."""
    # Here, as these bring SciPy and Plotly along, which other commands do not need.
    import numpy as np

    from sltprob.diagnostics.checks import Run
    from sltprob.report import sparkline

    run = Run.of(draws)
    name = "β(L − L*)" if run.knows_minimum else "βL"
    finite = run.loss[np.isfinite(run.loss)]
    scale = f"{finite.min():.3g} to {finite.max():.3g}" if finite.size else "no finite value"
    console = Console()
    room = console.width - len(name) - len(scale) - 4
    line = sparkline(run.loss, max(16, min(room, 100)))
    console.print(f"{name}  {line}  {scale}", highlight=False, markup=False, soft_wrap=True)


def print_verdict(verdict: Verdict) -> None:
    """Print a verdict, and what to do about each failed check."""
    console = Console()
    console.print(f"{verdict.words}: {verdict.reason}", style=COLOURS[verdict.status], markup=False)
    for check in verdict.failed:
        console.print(f"  {check}", markup=False)
        console.print(f"    {check.advice}", markup=False)


def print_checks(checks: Sequence[Check], title: str) -> None:
    """Print every check with its value and limit, and what to do about those that failed."""
    # Not the table's own title, which is no wider than the table.
    say(title)
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("check", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("must be", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in checks:
        table.add_row(
            rich.markup.escape(check.name),
            f"{check.value:.3g}",
            f"{check.relation} {check.limit:.3g}",
            "[green]ok[/]" if check.passed else "[red]failed[/]",
        )
    Console().print(table)
    Console().print()
    for check in checks:
        if not check.passed:
            say(f"{check.name}: {check.finding}", f"    {check.advice}")


def print_json(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json_text(document))


def json_text(document: Any) -> str:
    """Write one JSON document as text."""
    return json.dumps(_finite(document), ensure_ascii=False, indent=2) + "\n"


def _finite(document: Any) -> Any:
    """Replace what JSON cannot say by null."""
    if isinstance(document, dict):
        return {key: _finite(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_finite(value) for value in document]
    if isinstance(document, float) and not math.isfinite(document):
        return None
    return document
