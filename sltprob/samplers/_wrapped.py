"""A sampler that makes its draws by another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Evaluation, Sampler

__all__ = ["Wrapped"]


@dataclass(frozen=True, kw_only=True)
class Wrapped(Sampler):
    """A sampler that does what another one does, but for what a subclass changes.

    Parameters
    ----------
    base : Sampler
    """

    base: Sampler

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Ask the base.

        Parameters
        ----------
        posterior : TemperedPosterior

        Returns
        -------
        str or None
        """
        return self.base.applies_to(posterior)

    def over_chains(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Apply a function of one chain to all chains, as the base does.

        Parameters
        ----------
        function : callable
        *arguments : pytree, leading axis chain

        Returns
        -------
        pytree, leading axis chain
        """
        return self.base.over_chains(function, *arguments)

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give what the base gives.

        Parameters
        ----------
        posterior : TemperedPosterior
        state : pytree

        Returns
        -------
        Evaluation
        """
        return self.base.evaluate(posterior, state)
