"""HTML pages from Jinja templates: one file that opens anywhere, without a network."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["render", "resource"]


def resource(name: str) -> str:
    """Read a style sheet or script of this package."""
    return (files("sltprob.report") / name).read_text(encoding="utf-8")


def render(template: str, folder: str, **context: Any) -> str:
    """Fill the template of a folder of the package, with the style of all pages as `style`."""
    environment = Environment(
        loader=PackageLoader("sltprob", folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(resource("report.css"))
    return environment.get_template(template).render(style=style, **context)
