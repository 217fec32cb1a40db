"""When the draws of a local run, and those at half its step, are enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sltprob.sampling.progress import Target

if TYPE_CHECKING:
    from sltprob.local_estimate import LocalEstimate

__all__ = ["ESTIMATED", "Enough", "known", "together"]

#: What of a record λ̂ is estimated from.
ESTIMATED = ("scaled_loss", "bias", "cooled")

# ρ above which half the step is tried as well, if nobody says otherwise.
_HALF_STEP = 0.1
# Draws before an error is believed.
_LEAST = 100
# The error of the mean at half the step, of C' there: where between λ̂ - C' and λ̂ the truth lies is
# open by C'/2 whatever is drawn, to which it then adds 3 %, and to each end of the interval C'/4.
_SHARE = 1 / 8

type Record = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Enough:
    """When to stop; by errors alone, never by what the estimate is."""

    half_step: bool | None
    target: Target | None
    draws: int  # at most

    def halves(self, found: LocalEstimate) -> bool:
        """Say whether half the step is to be tried as well."""
        if self.half_step is not None:
            return self.half_step
        return found.raw > 0 and found.bias / found.raw > _HALF_STEP

    def first(self, found: LocalEstimate, done: int) -> bool:
        """Say whether the draws are enough for the target.

        Where half the step comes as well, the slope adds the error of this mean to that of the
        other, or C'/2 at most. C' is C/2, or up to 2 C/3 where chains still find larger gradients.
        The mean at half the step counts twice, and is given the greater part of the target.
        """
        if self.target is None or done < min(_LEAST, self.draws):
            return False
        if not self.halves(found):
            return self.target.met(found.value, found.mcse)
        return self.target.met(found.value, min(2 * found.raw_error, 0.4 * abs(found.bias)))

    def second(self, found: LocalEstimate, done: int, settled: int) -> bool:
        """Say whether the draws at half the step are enough.

        They are as many as those in which the chains have settled, at least. For a target they go
        on as long as they bring it nearer; else until their error is small beside C'.
        """
        if done < min(max(_LEAST, settled), self.draws):
            return False
        if self.target is not None:
            if self.target.met(found.value, found.mcse):
                return True
            if self.target.met(found.value, found.slope_error):
                return False
        biased = math.nan if found.halved is None else abs(found.halved[1])
        return found.half_step_error <= _SHARE * biased


def together(parts: Sequence[Record], name: str, draws: int | None = None) -> np.ndarray:
    """Put what the chunks have recorded one after the other."""
    return np.concatenate([part[name] for part in parts], axis=1)[:, :draws]


def known(record: Record, halved: Record | None = None) -> LocalEstimate:
    """Estimate λ̂ as it is reported in the end."""
    # The checks, which come with it, load the estimate themselves.
    from sltprob.local_estimate import local_estimate

    other = None
    if halved is not None:
        other = {"scaled": halved["scaled_loss"], "bias": halved["bias"]}
        if "cooled" in halved:
            other["cooling"] = halved["cooled"]
    return local_estimate(record["scaled_loss"], record["bias"], other, record.get("cooled"))
