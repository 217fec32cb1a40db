"""Sphinx extension: notebooks run in two streams of equal length that keep what they compile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sphinx.util.parallel import make_chunks

#: The longest first; the gallery draws from what the statistician's page compiles.
STREAMS = (
    ("statistician", "gallery"),
    ("sampler_researcher", "interpretability", "flagship", "bayes", "deep_learning"),
)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx, which calls it."""
    app.connect("env-before-read-docs", lambda app, _env, names: spread(names, app.parallel))
    app.connect("source-read", _keep_compiled)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def spread(names: list[str], processes: int) -> None:
    """Put the pages in such an order that each process reads one stream, in the order of it.

    Parameters
    ----------
    names : list of str
        Of the pages to read; changed in place.
    processes : int
    """
    if not names:
        return
    size = max(map(len, make_chunks(names, processes)))
    streams = [[name for name in stream if name in names] for stream in STREAMS]
    plain = [name for name in names if not any(name in stream for stream in streams)]
    ordered = []
    for stream in streams:
        room = max(0, size - len(stream))
        ordered += [*stream, *plain[:room]]
        plain = plain[room:]
    names[:] = [*ordered, *plain]


def _keep_compiled(app: Any, name: str, _source: list[str]) -> None:
    """Let the notebooks of one stream share compiled code.

    One of them runs at a time, so that none reads a file that another has half written.
    """
    for index, stream in enumerate(STREAMS):
        if name in stream:
            kept = Path(app.doctreedir) / "compiled" / str(index)
            os.environ["JAX_COMPILATION_CACHE_DIR"] = str(kept)
            os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
