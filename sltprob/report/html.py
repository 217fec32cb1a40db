"""HTML pages from Jinja templates: one file that opens anywhere, without a network."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sltprob.report.payload import compressed_json, plotly_hash, plotly_payload, script_hash

__all__ = ["interactive", "render"]


def _resource(name: str) -> str:
    """Read a style sheet or script of this package."""
    return (files("sltprob.report") / name).read_text(encoding="utf-8")


def interactive(charts: dict[str, Any]) -> dict[str, Any]:
    """Give what a page with charts carries inside itself, for `render`."""
    script = _resource("report.js")
    return {
        "script": Markup(script),
        "policy": f"{script_hash(script)} {plotly_hash()}",
        "plotly": Markup(plotly_payload()),
        "charts": Markup(compressed_json(charts)),
    }


def render(template: str, **context: Any) -> str:
    """Fill a template that extends ``report/base.html``, named by its path in the package."""
    environment = Environment(
        loader=PackageLoader("sltprob", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(_resource("report.css"))
    return environment.get_template(template).render(style=style, **context)
