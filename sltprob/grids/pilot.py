"""How long a study will take and how large it will be, from one short run of each kind."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from sltprob import packed, samplers
from sltprob.grids.plan import Block, Plan
from sltprob.problem import problem
from sltprob.sampling import sample

__all__ = ["Estimate", "estimate_cost"]

_PILOT_DRAWS = 50


@dataclass(frozen=True)
class Estimate:
    """What a study will take."""

    # Of one process, compilation included; an upper bound where a target error may stop a cell
    # early
    seconds: float
    bytes: float  # On disk


def estimate_cost(plan: Plan) -> Estimate:
    """Run one short cell of each kind, at its middle beta, and scale it up."""
    parts = [_of_block(block) for block in plan.blocks]
    return Estimate(sum(part.seconds for part in parts), sum(part.bytes for part in parts))


def _of_block(block: Block) -> Estimate:
    setting = block.setting
    budget = setting.budget
    short = replace(
        budget,
        draws=min(budget.draws, _PILOT_DRAWS),
        warmup=min(budget.warmup, _PILOT_DRAWS),
        target_mcse=None,
    )
    beta = sorted(block.betas)[len(block.betas) // 2]
    begin = time.perf_counter()
    run = sample(
        (problem(setting.model) if setting.own is None else setting.own.problem).at(beta),
        samplers.get(setting.sampler),
        draws=short.draws,
        warmup=short.warmup,
        chains=short.chains,
        init=short.init,
        keep=short.keep,
    )
    total = time.perf_counter() - begin
    drawn, warmed = run.attrs["seconds_sampling"], run.attrs["seconds_warmup"]
    once = total - drawn - warmed  # compiling, for the most part
    each = drawn * budget.draws / short.draws + warmed * budget.warmup / short.warmup
    size = len(packed.pack(run)) * (budget.draws + budget.warmup) / (short.draws + short.warmup)
    return Estimate(once + each * len(block), size * len(block))
