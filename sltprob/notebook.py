"""How objects show themselves in a notebook: everything is escaped, and no colour is set.

Without colours of its own, a table reads in a light and in a dark notebook. What is written here is
what a terminal shows; the data themselves never are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["Described", "facts", "heading", "table"]


def heading(title: str, note: str = "") -> str:
    """Write a title, and what is said beside it."""
    return f"<strong>{escape(title)}</strong>" + (f": {escape(note)}" if note else "")


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, words: int = 1) -> str:
    """Write a table, whose first `words` columns are text."""
    left = ' style="text-align:left"'
    heads = "".join(
        f'<th scope="col"{left * (i < words)}>{escape(h)}</th>' for i, h in _at(headings)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{left * (i < words)}>{escape(str(x))}</td>" for i, x in _at(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _at(values: Iterable[Any]) -> Iterable[tuple[int, Any]]:
    return enumerate(values)


def facts(title: str, found: Mapping[str, Any], note: str = "") -> str:
    """Write a title with what is known about it, a line each."""
    left = ' style="text-align:left"'
    rows = "".join(
        f'<tr><th scope="row"{left}>{escape(name)}</th><td{left}>{escape(str(value))}</td></tr>'
        for name, value in found.items()
    )
    return f"<div>{heading(title, note)}<table><tbody>{rows}</tbody></table></div>"


class Described:
    """Shows in a notebook what its `repr` says: a title, and a line ``  name: value`` each."""

    def _repr_html_(self) -> str:
        """Show the object in a notebook."""
        title, *lines = repr(self).splitlines()
        found = {}
        for line in lines:
            name, colon, value = line.strip().partition(": ")
            if colon:
                found[name] = value
                continue
            for part in name.split(", "):  # numbers, such as beta = 100
                key, _, number = part.partition(" = ")
                found[key] = number
        return facts(title, found)
