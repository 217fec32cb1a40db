"""The site in which a squared-error loss is quadratic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Readout"]


@dataclass(frozen=True)
class Readout:
    """A site a such that the loss of datum q is ½ curvature (y_q - Σ_i a_i φ_qi)².

    Parameters
    ----------
    site : str
        Name of the site, a vector with a normal prior. The program samples it after all sites
        that the features depend on.
    features : callable
        ``(values, arguments) -> φ, shape (n, h)``: from the values of the other sites and the
        arguments of the program.
    target : str
        The argument that has the y_q.
    curvature : float
    """

    site: str
    features: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
    target: str = "y"
    curvature: float = 2.0
