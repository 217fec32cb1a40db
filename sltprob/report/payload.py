"""What a page carries inside itself: compressed text that the browser inflates."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from typing import Any

from plotly.offline import get_plotlyjs

__all__ = ["compressed", "compressed_json", "plotly_hash", "plotly_payload", "script_hash"]


def compressed(text: str) -> str:
    """Compress text for a page."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def compressed_json(value: Any) -> str:
    """Compress a value as JSON for a page."""
    return compressed(json.dumps(value, allow_nan=False, separators=(",", ":")))


def script_hash(text: str) -> str:
    """Give the source expression by which a content security policy allows a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def plotly_payload() -> str:
    """Compress Plotly's script, as it came with the installed package."""
    return compressed(get_plotlyjs())


@cache
def plotly_hash() -> str:
    """Give the source expression that allows Plotly's script."""
    return script_hash(get_plotlyjs())
