"""What a model is: a program, its population, and what is known about it exactly."""

from __future__ import annotations

import abc
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Annotated, Any

import numpy as np

from sltprob.data import Data
from sltprob.exact import Exact, check_beta
from sltprob.models._readout import Readout
from sltprob.notebook import facts
from sltprob.spec import check_options, whole
from sltprob.theory.learning_coefficients import LearningCoefficient

__all__ = ["Model", "Truth"]


@dataclass(frozen=True)
class Truth:
    """What theory says about a model in the limit of infinite beta.

    Parameters
    ----------
    learning_coefficient : Fraction or None
        The real log canonical threshold; None when it is unknown or does not exist.
    multiplicity : int or None
        Its multiplicity.
    source : str
        The theorem or derivation, with its reference.
    status : str
        How certain it is: ``"proved"``, ``"upper bound"``, ``"numerical"`` or ``"none"``.
    """

    learning_coefficient: Fraction | None
    multiplicity: int | None
    source: str
    status: str = "proved"

    @classmethod
    def of(cls, found: LearningCoefficient) -> Truth:
        """Take what a formula gives (`sltprob.theory.learning_coefficients`)."""
        return cls(found.value, found.multiplicity, found.source, found.status)


@dataclass(frozen=True, kw_only=True)
class Model(abc.ABC):
    """A model whose loss is known on the whole data distribution.

    A subclass is a frozen dataclass: its fields are its options, with a rule beside the type
    where not every value will do (`sltprob.spec`). Two models with the same options are equal, so
    that they share one compilation.

    Parameters
    ----------
    n : int or None
        Draw a data set of this size from the truth; None for the whole population.
    seed : int
        Of the data set.

    Raises
    ------
    ValueError
        If an option is not what its rule asks for.
    """

    n: Annotated[int | None, whole(1, example=1000, none="for the whole population")] = None
    seed: Annotated[int, whole(0)] = 0

    def __post_init__(self) -> None:
        check_options(self)

    def _repr_html_(self) -> str:
        """Show the model in a notebook: its options, and what theory says."""
        truth = self.truth()
        found: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        if self.n is None:
            found = {name: value for name, value in found.items() if name not in ("n", "seed")}
        known = truth.learning_coefficient
        found["λ"] = f"{'unknown' if known is None else known} ({truth.status}: {truth.source})"
        return facts(type(self).__name__, found, (type(self).__doc__ or "").strip().split("\n")[0])

    @abc.abstractmethod
    def program(self, **arguments: Any) -> None:
        """Run the NumPyro program; its arguments are those of `population`.

        Parameters
        ----------
        **arguments : array
        """

    @abc.abstractmethod
    def population(self) -> Data:
        """Give the data over which the loss is averaged: a quadrature rule, or a data set.

        Returns
        -------
        Data
        """

    @abc.abstractmethod
    def optimum(self) -> dict[str, Any]:
        """Give a point of least loss, the deepest singularity where that is known.

        Returns
        -------
        dict of str to array
            Constrained values of all latent sites.
        """

    @abc.abstractmethod
    def truth(self) -> Truth:
        """Say what theory knows about the limit of infinite beta.

        Returns
        -------
        Truth
        """

    @property
    def minimum_loss(self) -> float:
        """The least loss L* on the population, exactly (float, in units of the loss)."""
        return 0.0

    def draw_data(self, generator: np.random.Generator, n: int) -> dict[str, Any] | None:
        """Draw a data set from the truth.

        Parameters
        ----------
        generator : numpy.random.Generator
        n : int

        Returns
        -------
        dict of str to array, or None
            Arguments of the program with n rows; None where the model has no data.
        """
        return None

    def data(self) -> Data:
        """Give what the loss is averaged over: the population, or the data set that `n` asks for.

        Returns
        -------
        Data

        Raises
        ------
        ValueError
            If `n` is less than 1, or the model has no data to draw.
        """
        check_options(self)  # again: a subclass may have a __post_init__ of its own
        if self.n is None:
            return self.population()
        drawn = self.draw_data(np.random.default_rng(self.seed), self.n)
        if drawn is None:
            raise ValueError(f"n={self.n}: this model has no data to draw; leave n out")
        return Data(drawn)

    def minibatch(self, rng_key: Any, size: int) -> dict[str, Any] | None:
        """Draw fresh data from the population, if it can be drawn from.

        Parameters
        ----------
        rng_key : PRNG key
        size : int

        Returns
        -------
        dict of str to array, or None
            Arguments of the program with `size` rows; None where only the rows of
            `population` can be drawn.
        """
        return None

    def compilation_key(self) -> Any:
        """Give what two models must share to share compiled programs: all but their data.

        Returns
        -------
        hashable
        """
        return replace(self, n=None, seed=0)

    def readout(self) -> Readout | None:
        """Name the site in which the loss is quadratic, with its features.

        Returns
        -------
        Readout or None
            None where there is none, or none is known.
        """
        return None

    def exact(self, beta: float, *, tolerance: float = 0.01) -> Exact | None:
        """Compute lambda-hat and the free energy at this beta without sampling the posterior.

        Parameters
        ----------
        beta : float, dimensionless
        tolerance : float, dimensionless
            Relative error that is wanted on lambda-hat.

        Returns
        -------
        Exact or None
            None where no independent route is known, as for a data set of most models.

        Raises
        ------
        ValueError
            If `beta` is not positive and finite.
        """
        beta = check_beta(beta)
        return self._exact(beta, tolerance) if self.n is None else self._exact_on_data(beta)

    def _exact(self, beta: float, tolerance: float) -> Exact | None:
        """Compute the exact answer on the population."""
        return None

    def _exact_on_data(self, beta: float) -> Exact | None:
        """Compute the exact answer on the data set."""
        return None
