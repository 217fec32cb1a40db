"""Tables of cells, for a README, a spreadsheet and a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sltprob.cell import CELL_FIELDS, name_of_truth
from sltprob.report.numbers import count, inverse_temperature, measured, number, signed

__all__ = ["csv_text", "latex_table", "markdown_table"]

type Cell = Mapping[str, Any]


def csv_text(cells: Sequence[Cell]) -> str:
    """Write cells as CSV, in full precision."""
    _check(cells)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CELL_FIELDS)
    for cell in cells:
        writer.writerow(_plain(cell[name]) for name in CELL_FIELDS)
    return buffer.getvalue()


def markdown_table(cells: Sequence[Cell]) -> str:
    """Write cells as a Markdown table. Model and seed have a column only where they differ."""
    _check(cells)
    columns = _columns(cells)
    right = {"β", "seed", "λ̂", "exact", "reference", "z", "ESS"}
    lines = [
        [heading for heading, _ in columns],
        ["---:" if heading in right else "---" for heading, _ in columns],
    ]
    lines += [[_markdown_escape(write(cell)) for _, write in columns] for cell in cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex_table(cells: Sequence[Cell]) -> str:
    r"""Write cells as a LaTeX ``tabular``; it needs the package ``booktabs``."""
    _check(cells)
    headings = {"β": r"$\beta$", "λ̂": r"$\hat\lambda$", "z": "$z$"}
    special: dict[str, Callable[[Cell], str]] = {
        "β": lambda cell: measured(cell["beta"]).latex(),
        "λ̂": lambda cell: measured(cell["lambda_hat"], cell["mcse"]).latex(),
        name_of_truth(cells): lambda cell: measured(cell["exact"], cell["exact_mcse"]).latex(),
        "z": lambda cell: "--" if cell["z"] is None else f"${cell['z']:+.1f}$",
    }
    columns = _columns(cells)
    right = {"β", "seed", "λ̂", "exact", "reference", "z", "ESS"}
    alignment = "".join("r" if heading in right else "l" for heading, _ in columns)
    rows = [[headings.get(heading, heading) for heading, _ in columns]]
    for cell in cells:
        rows.append(
            [
                special[heading](cell) if heading in special else _latex_escape(write(cell))
                for heading, write in columns
            ]
        )
    lines = [f"{' & '.join(row)} \\\\" for row in rows]
    body = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*body, *lines[1:], r"\bottomrule", r"\end{tabular}", ""])


def _check(cells: Sequence[Cell]) -> None:
    for position, cell in enumerate(cells):
        missing = [name for name in CELL_FIELDS if name not in cell]
        if missing:
            raise ValueError(
                f"cell {position} lacks {', '.join(missing)}; make it with "
                "sltprob.cell.summarise(draws)"
            )


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ";".join(str(item) for item in value)
    return repr(float(value)) if isinstance(value, float) else value


def _columns(cells: Sequence[Cell]) -> list[tuple[str, Callable[[Cell], str]]]:
    columns: list[tuple[str, Callable[[Cell], str]]] = []
    if len({cell["model"] for cell in cells}) > 1:
        columns.append(("model", lambda cell: cell["model"]))
    columns.append(("sampler", lambda cell: cell["sampler"]))
    columns.append(("β", lambda cell: inverse_temperature(cell["beta"])))
    if len({cell["seed"] for cell in cells}) > 1:
        columns.append(("seed", lambda cell: str(cell["seed"])))
    columns += [
        ("λ̂", lambda cell: measured(cell["lambda_hat"], cell["mcse"]).text()),
        (name_of_truth(cells), lambda cell: measured(cell["exact"], cell["exact_mcse"]).text()),
        ("z", lambda cell: signed(cell["z"])),
        ("ESS", lambda cell: count(cell["ess"])),
        ("R-hat", lambda cell: number(cell["rhat"], 4)),
        ("verdict", lambda cell: cell["verdict"]),
        ("failed checks", lambda cell: ", ".join(cell["failed_checks"])),
    ]
    return columns


def _markdown_escape(text: str) -> str:
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for character in "\\`*_[]|":
        text = text.replace(character, "\\" + character)
    return text


def _latex_escape(text: str) -> str:
    names = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "∞": r"$\infty$",
        "−": "$-$",
        "β": r"$\beta$",
        "\u202f": r"\,",
    }
    simple = {character: "\\" + character for character in "&%$#_{}"}
    return "".join((names | simple).get(character, character) for character in text)
