"""A sampler that makes its draws by another one, and changes one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Evaluation, Sampler

__all__ = ["Wrapped"]


@dataclass(frozen=True, kw_only=True)
class Wrapped(Sampler):
    """A sampler that does what another one does, but for what a subclass changes."""

    base: Sampler

    def applies_to(self, posterior: TemperedPosterior) -> str | None:
        """Ask the base."""
        return self.base.applies_to(posterior)

    def over_chains(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Apply a function of one chain to all chains, as the base does."""
        return self.base.over_chains(function, *arguments)

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give what the base gives."""
        return self.base.evaluate(posterior, state)

    def placed(self, posterior: TemperedPosterior, state: Any, position: Any) -> Any:
        """Give what the base gives."""
        return self.base.placed(posterior, state, position)
