"""What a verb measures: a model of ours, or a program of the user's own with its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from sltprob import models
from sltprob.collapsed import PrecisionError, ResolutionError
from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.models import Model
from sltprob.optimum import find_optimum
from sltprob.posterior import TemperedPosterior
from sltprob.program import is_program, load_program
from sltprob.reading import columns_of, named_data, read_data
from sltprob.tempering import temper

__all__ = ["Problem", "problem", "wbic"]

# log n is above one from here on, so that WBIC's beta is below n.
_LEAST_WBIC = 3
# Weights of n data may differ by rounding.
_EQUAL = 1e-3


def wbic(n: float) -> float:
    """Give the inverse temperature of WBIC, n / log(n).

    Parameters
    ----------
    n : float
        Number of data, above 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If n is not above 1.

    References
    ----------
    .. [1] S. Watanabe, "A widely applicable Bayesian information criterion", J. Mach. Learn.
           Res. 14 (2013) 867-897.
    """
    if not 1 < n < math.inf:
        raise ValueError(f"n={n}: it must be a number of data above 1, such as 1000")
    return n / math.log(n)


@dataclass(frozen=True)
class Problem:
    """A posterior that is not tempered yet, with what is known about it exactly."""

    posterior: TemperedPosterior  # at beta = 1
    model: Model | None  # None for a program of the user's own

    @property
    def name(self) -> str:
        """What a run calls it: the specification of a model, or the name of a program."""
        return self.posterior.name if self.model is None else models.specification(self.model)

    @cached_property
    def minimum_loss(self) -> tuple[float, float]:
        """L* and its error; searched for, once, where it is not known."""
        known = float(self.posterior.minimum_loss)
        if not math.isnan(known):
            return known, float(self.posterior.minimum_loss_error)
        found = find_optimum(self.posterior)
        return found.loss, found.error

    def at(self, beta: float) -> TemperedPosterior:
        """Give the posterior at an inverse temperature, with its L*."""
        tempered = self.posterior.at(beta)
        # In the precision of beta, so that a compiled program serves all problems of one shape.
        loss, error = (jnp.zeros_like(tempered.beta) + value for value in self.minimum_loss)
        return replace(tempered, minimum_loss=loss, minimum_loss_error=error)

    def exact(self, beta: float, tolerance: float = 0.01) -> Exact | None:
        """Compute the exact answer, or None where none is known, or not to the tolerance."""
        if self.model is None:
            return None
        try:
            return self.model.exact(beta, tolerance=tolerance)
        except (PrecisionError, ResolutionError):  # no reason not to sample
            return None

    def beta(self, value: float | str) -> float:
        """Read an inverse temperature: a number, ``"n"`` for the posterior, or ``"wbic"``.

        References
        ----------
        .. [1] S. Watanabe, "A widely applicable Bayesian information criterion", J. Mach. Learn.
           Res. 14 (2013) 867-897.
        """
        if value in ("n", "wbic"):
            size = self.posterior.num_rows
            if self.model is not None and self.model.n is None:
                raise ValueError(
                    f"beta={value} needs a data set; give data, or a model with n=, such as "
                    "tanh_zero[n=1000]"
                )
            if value == "wbic" and size < _LEAST_WBIC:
                raise ValueError(
                    f"beta=wbic is n / log n, and n is {size}; give a number, such as beta=1"
                )
            counted = np.asarray(self.posterior.weights)
            if not np.allclose(counted[counted > 0], 1 / size, rtol=_EQUAL):
                raise ValueError(
                    f"beta={value}: n is the number of data, which weights that are not 1/n each "
                    f"do not say (they sum to {counted.sum():g} over {size} rows); repeat rows "
                    "that count more than once, as in np.repeat(y, counts), or give a number"
                )
            return wbic(size) if value == "wbic" else float(size)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise ValueError(
                f"beta={value}: it must be positive and finite, such as 1e4; or n, or wbic"
            )
        return number


def problem(
    model: Model | TemperedPosterior | Callable[..., Any] | str,
    data: Data | Mapping[str, Any] | str | Path | None = None,
    *,
    minimum_loss: float | None = None,
    reparameterise: str | None = None,
    rows: str | int | None = None,
) -> Problem:
    """Read what is to be measured.

    That is a model or its specification; a NumPyro program of your own, as a function or as
    ``"path/to/file.py:function"``, with its data; or a tempered posterior, whose own beta does not
    matter. Data are arguments by name, a data frame, or a path that `sltprob.reading` knows; of a
    table the program gets the columns that its arguments name.
    """
    if isinstance(model, TemperedPosterior):
        if data is not None:
            raise ValueError("data go with a program; a posterior has its own")
        return Problem(model.at(1.0), model.structure.model)
    own = is_program(model) or (callable(model) and not isinstance(model, Model))
    if own and data is None:
        raise ValueError(f"{model} needs its data; give its arguments, such as --data data.csv")
    if not own and data is not None:
        raise ValueError(f"data go with a program of your own; {model!r} has its own data")
    chosen: Any = model
    if isinstance(model, str):
        chosen = load_program(model) if own else models.get(model)
    if isinstance(data, str | Path):
        data = named_data(read_data(Path(data)), chosen, f"data={data}")
    elif hasattr(data, "columns"):  # a data frame of pandas or polars
        data = named_data(columns_of(data), chosen)
    posterior = temper(
        chosen,
        data,
        beta=1.0,
        minimum_loss=minimum_loss,
        reparameterise=reparameterise,
        rows=rows,
    )
    return Problem(posterior, None if own else chosen)
