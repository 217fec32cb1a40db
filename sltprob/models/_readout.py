"""The readout of a network: the weights of its last, linear layer, which a loss is quadratic in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Readout"]


@dataclass(frozen=True)
class Readout:
    """A site a such that the loss of datum q is ½ curvature (y_q - Σ_i a_i φ_qi)²."""

    # Name of the site, a vector with a normal prior. The program samples it after all sites that
    # the features depend on.
    site: str
    # ``(values, arguments) -> φ, shape (n, h)``: from the values of the other sites and the
    # arguments of the program
    features: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
    target: str = "y"  # the argument that has the y_q
    curvature: float = 2.0
