"""All models of the study by family: programs with their data, and models of this package."""

from __future__ import annotations

import functools

from sltprob.calibration.families import data_sets, losses, supports, unseen
from sltprob.calibration.families.case import Case

__all__ = ["BUILT_IN", "case", "cases", "families", "family", "programs"]

#: Models of this package with options that chose no limit: family, specification, betas.
BUILT_IN: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("several modes", "two_phase[narrow_weight=0.2,excess=0.004]", (50.0, 1000.0)),
    ("products", "normal_crossing[powers=1:2,prior=normal]", (30.0, 3000.0)),
    ("products", "scalar_product[size=6]", (10.0, 1000.0)),
    ("products", "reduced_rank[input=2,hidden=3,output=2,rank=1]", (10.0, 1000.0)),
    ("networks", "network[width=3,activation=tanh,inputs=circle]", (10.0, 1000.0)),
    ("networks", "tanh_zero[width=5]", (10.0, 1000.0)),
    ("regular", "regular[dimension=5,prior_scale=2.0]", (10.0, 1000.0)),
    ("regular", "even_powers[powers=2:2:4]", (10.0, 1000.0)),
)


@functools.cache
def cases() -> dict[str, Case]:
    """Give the models that are programs, by name."""
    modules = (losses, supports, data_sets, unseen)
    return {found.name: found for module in modules for found in module.cases()}


def case(name: str) -> Case | None:
    """Give a model that is a program, or None."""
    return cases().get(name)


def programs() -> dict[str, dict[str, tuple[float, ...]]]:
    """Give the models and their betas by program, of which each is one compilation."""
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    built_in = {name: {name: betas} for _, name, betas in BUILT_IN}
    for name, each in cases().items():
        if each.family == unseen.FAMILY and not built_in.keys() <= found.keys():
            found |= built_in  # The place of a program chooses its samplers: it stays.
        found.setdefault(each.program.__name__, {})[name] = each.betas
    return found


def families() -> list[str]:
    """Name the families, in order."""
    found = [each.family for each in cases().values()] + [group for group, _, _ in BUILT_IN]
    return list(dict.fromkeys(found))


def family(name: str) -> str | None:
    """Name the family of a model, None of one of the training models."""
    found = case(name)
    if found is not None:
        return found.family
    return next((group for group, model, _ in BUILT_IN if model == name), None)
