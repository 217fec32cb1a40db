"""The runs of the study, in the order in which they are made."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterator

from sltprob.calibration.edits import EDITS
from sltprob.calibration.families import catalogue
from sltprob.calibration.settings import Plan, Setting, training_plans

__all__ = ["DEFAULT", "SAMPLERS", "family_plans", "groups", "plans"]

#: All samplers of this package; hmc runs on every model, and the others in turn.
SAMPLERS = (
    "hmc",
    "nuts",
    "sgld",
    "mala",
    "dynamic_hmc",
    "barker",
    "random_walk",
    "elliptical_slice",
    "mclmc",
    "adjusted_mclmc",
    "sghmc",
    "tempered_smc",
    "preconditioned_sgld",
    "replica_exchange",
    "sgnht",
)

DEFAULT = Setting(name="defaults", kind="good", warmup=500, plain=True)
_OPTIMUM = Setting(name="from the optimum", kind="good", warmup=500, init="optimum", plain=True)
_BOTH = Setting(name="both starts", kind="good", warmup=500, init="both", plain=True)
_SHORT = Setting(name="200 draws, 50 of warm-up", kind="short", draws=200, warmup=50, plain=True)
_MIXED = Setting(name="rows mixed up", kind="mistake", warmup=500, plain=True)
_GIVEN = tuple(
    Setting(
        name=f"L* given {abs(shift):g}/β too {'low' if shift < 0 else 'high'}",
        kind="mistake",
        warmup=500,
        plain=True,
        minimum_shift=shift,
    )
    for shift in (-1.0, -0.3, 0.3, 1.0)
)
_OF_FILE = (
    *(Setting(name=name, kind="edit", warmup=500, plain=True, edit=name) for name in EDITS),
    *(
        Setting(name=name, kind="damage", warmup=500, plain=True, damage=damage)
        for name, damage in (
            ("one dead chain", "dead"),
            ("one chain freezes", "freezing"),
            ("NaN in one chain", "nan"),
            ("one infinite draw", "inf"),
        )
    ),
)
_ALTERED = (
    Setting(name="step × 2.5", kind="step", step_factor=2.5),
    Setting(name="beta × 1.2", kind="density", beta_factor=1.2),
    Setting(name="prior twice", kind="density", prior_factor=2.0),
    Setting(name="no Jacobian", kind="density", jacobian_factor=0.0),
)
_WITH_JACOBIAN = ("edges", "positive", "shares", "ordered", "correlation", "robust", "groups")


def plans(*, small: bool = False, part: tuple[int, int] = (1, 1)) -> Iterator[Plan]:
    """List the runs, those that share a compilation one after the other.

    Of `part` = (k, n) every n-th compilation is taken, so that the n parts are all of it.
    """
    which, count = part
    for place, group in enumerate(groups(small=small)):
        if place % count == which - 1:
            yield from group


def groups(*, small: bool = False) -> Iterator[list[Plan]]:
    """List the runs of every compilation: those that count first, in an order that tells nothing.

    A study that was stopped is then a fair sample of the whole.
    """
    found: dict[object, list[Plan]] = {}
    for plan in family_plans(small=small):
        found.setdefault(plan.compilation, []).append(plan)
    yield from (found[key] for key in sorted(found, key=_shuffled))
    for _, group in itertools.groupby(training_plans(small=small), key=lambda p: p.compilation):
        yield list(group)


def _shuffled(key: object) -> bytes:
    return hashlib.sha256(repr(key).encode()).digest()


def family_plans(*, small: bool = False) -> Iterator[Plan]:
    """List the runs of the models that count."""
    for place, (program, models) in enumerate(catalogue.programs().items()):
        # A model of this package is a compilation of its own, for two temperatures.
        every = 5 if catalogue.case(next(iter(models))) is None else 2
        turn = [name for number, name in enumerate(SAMPLERS[1:]) if (number + place) % every == 0]
        for rank, sampler in enumerate(("hmc", *turn)):
            # The first samplers of every model have its bad settings too.
            is_bad = rank in (0, 1 + place % len(turn))
            if small and (place + rank) % 10:
                continue
            for number, (model, betas) in enumerate(models.items()):
                if number and small:
                    break
                yield from _plans_of(program, model, betas, number, sampler, is_bad=is_bad)


def _plans_of(
    program: str,
    model: str,
    betas: tuple[float, ...],
    number: int,
    sampler: str,
    *,
    is_bad: bool,
) -> Iterator[Plan]:
    def plan(setting: Setting, beta: int, seed: int) -> Plan:
        chosen = betas[beta % len(betas)]
        # Models that look alike would be off alike by the same random numbers.
        own = zlib.crc32(f"{model} {sampler}".encode()) % 10_000
        return Plan(
            model=model, beta=chosen, sampler=sampler, setting=setting, seed=100 * own + seed
        )

    found = catalogue.case(model)
    if found is not None and found.is_mistake:
        yield from (plan(_MIXED, seed, seed) for seed in range(2))
        return
    yield from (plan(DEFAULT, seed, seed) for seed in range(6))
    yield plan(_OPTIMUM, number, 6)
    yield plan(_BOTH, number + 1, 7)
    if not is_bad:
        return
    yield from (plan(_SHORT, seed, 8 + seed) for seed in range(2))
    if number == 0:
        yield from (plan(setting, 0, 0) for setting in _OF_FILE)
        yield from (plan(setting, 1, 10 + turn) for turn, setting in enumerate(_GIVEN))
    for turn, setting in enumerate(_ALTERED):
        if setting.jacobian_factor == 1 or program in _WITH_JACOBIAN:
            yield plan(setting, number + turn, 20 + turn)
