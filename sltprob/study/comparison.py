"""Several samplers at several temperatures, against the exact answer: one object, one table."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import xarray as xr

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison with their cells.

    Parameters
    ----------
    runs : tuple of xarray.DataTree
    cells : tuple of dict
        One for each run, with the keys of `sltprob.study.cell.CELL_FIELDS`.
    """

    runs: tuple[xr.DataTree, ...]
    cells: tuple[dict[str, Any], ...]

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                cell["sampler"],
                f"{cell['beta']:g}",
                f"{_show(cell['lambda_hat'], '.4g')} ± {_show(cell['mcse'], '.2g')}",
                _show(cell["exact"], ".4g"),
                _show(cell["z"], "+.1f"),
                _show(cell["ess"], ".0f"),
                cell["verdict"],
            )
            for cell in sorted(self.cells, key=lambda cell: float(cell["beta"]))
        ]

    def __str__(self) -> str:
        rows = [_HEADINGS, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in _HEADINGS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
            for row in self._rows()
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


_HEADINGS = ("sampler", "β", "λ̂ ± MCSE", "exact", "z", "ESS", "verdict")


def _show(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
