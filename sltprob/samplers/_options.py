"""Options that several samplers have: what each means, and what it may be.

The default is each sampler's own, and stands in its class; so does what is special there.
"""

from __future__ import annotations

from typing import Annotated

from sltprob.samplers._metric import METRICS
from sltprob.samplers.base import Sampler
from sltprob.spec import between, one_of, positive, whole

__all__ = [
    "STIFF_ACCEPTANCE",
    "AcceptanceRate",
    "BatchSize",
    "Friction",
    "MaxNumSteps",
    "Metric",
    "StepSize",
    "StepsPerDraw",
    "TrajectoryLength",
    "WithMetric",
]

#: Acceptance that samplers of long trajectories aim at. The usual 0.8 fits the step to the bulk,
#: and a singular posterior has arms that are many times stiffer: at 0.8 chains stayed out of them,
#: and of 108 runs of hmc on nine such models 24 were not trusted, against 2 at 0.95. That
#: costs up to 30 % more gradients for the same error (benchmarks/acceptance.py).
STIFF_ACCEPTANCE = 0.95

StepSize = Annotated[float | None, positive(example=0.01, none="to tune it")]
"""Size of one step of the kernel, in the metric that was learned if there is one.

Given, it is used as it is. None lets warm-up set one for all chains: it is adapted to an acceptance
rate where the kernel has a Metropolis test, and follows a rule where it has none.
"""

StepsPerDraw = Annotated[int, whole(1)]
"""Kernel steps between two draws that are kept."""

AcceptanceRate = Annotated[float, between(0, 1)]
"""Mean acceptance rate that warm-up adapts the step size to, unless that is given."""

Metric = Annotated[str, one_of("auto", *METRICS)]
"""Form of the metric, which is learned in warm-up: the unit of length in every direction.

``diagonal``; ``dense``, for correlations that do not depend on the place; ``low_rank``, diagonal
but for the ten directions that differ most from it; or ``auto``: dense up to 64 dimensions where a
gradient of at least as many data costs more than a matrix does, and diagonal elsewhere.
"""

TrajectoryLength = Annotated[float, positive()]
"""Length of a trajectory, in units of the posterior's standard deviations.

A quarter of a period of a Gaussian is π/2. The number of steps is this over the step size.
"""

MaxNumSteps = Annotated[int, whole(1)]
"""Upper bound on the number of steps that follow from the length of a trajectory."""

BatchSize = Annotated[int | None, whole(1, example=32, none="for all data")]
"""Data in a minibatch: fresh ones where the population can be drawn from, else rows of the data."""

Friction = Annotated[float | None, positive(example=100, none="to set it by the stiffness")]
"""How fast a momentum forgets itself, α: it keeps the part 1 - αε in a step of size ε."""


class WithMetric(Sampler):
    """A sampler with these options; a subclass declares them anew, in an order of its own."""

    metric: str
    step_size: float | None
    target_acceptance_rate: float
