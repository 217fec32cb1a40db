"""Options: what a rule lets through, what it says of the rest, and that no option lacks one."""

import dataclasses
import math
import typing
from typing import Annotated

import numpy as np
import pytest

from sltprob import models, samplers
from sltprob.spec import (
    at_least,
    between,
    check_options,
    defaults,
    finite,
    number_list,
    one_of,
    positive,
    whole,
)


@pytest.mark.parametrize("registry", [models.registry, samplers.registry], ids=lambda r: r.kind)
def test_whole_numbers_are_asked_for_in_python_too(registry):
    for name in registry.names():
        cls = registry.type_of(name)
        types = typing.get_type_hints(cls)
        for option in defaults(cls):
            if types[option] in (int, int | None):
                with pytest.raises(ValueError, match=rf"^{option}=1\.5: it must be a whole number"):
                    cls(**{option: 1.5}).data()


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (whole(2), [2, np.int64(7)], [1, 2.0, True, "2", None]),
        (whole(1, 3), [1, 3], [0, 4]),
        (positive(), [1e-300, 3], [0, -1, math.inf, math.nan, "1"]),
        (between(0, 1), [0.5], [0, 1, math.nan]),
        (at_least(1.2), [1.2, 5], [1, math.inf]),
        (finite(), [0, -1.5], [math.inf, math.nan, "one"]),
        (one_of("a", "b"), ["a"], ["c", 1]),
    ],
)
def test_rules(rule, good, bad):
    for value in good:
        assert rule.read("option", value) == value
    for value in bad:
        with pytest.raises(ValueError, match=rf"^option={value}: it must be "):
            rule.read("option", value)


def test_a_list_of_numbers_has_one_form():
    rule = number_list(1)
    for text in ("2:4", "[2,4]", " 2,4 ", (2, 4), [2.0, 4.0]):
        assert rule.read("powers", text) == "2:4"
    for text in ("", "2:x", "0:1", "1.5", None):
        with pytest.raises(ValueError, match="whole numbers >= 1 with : between them"):
            rule.read("powers", text)


def test_a_refusal_shows_what_would_do():
    @dataclasses.dataclass(frozen=True)
    class Thing:
        size: "Annotated[int | None, whole(1, example=16, none='to choose it')]" = None
        kind: Annotated[str, one_of("x", "y", "z")] = "x"
        width: Annotated[float, positive()] = 0.5

        def __post_init__(self):
            check_options(self)

    assert Thing(size=None, width=3) == Thing(width=3.0)
    for options, message in (
        ({"size": 0}, "size=0: it must be a whole number >= 1, such as 16, or none to choose it"),
        ({"kind": "w"}, "kind=w: it must be one of x, y, z"),
        ({"width": -1}, "width=-1: it must be positive and finite, such as 0.5"),
    ):
        with pytest.raises(ValueError, match="it must be") as caught:
            Thing(**options)
        assert str(caught.value) == message


@pytest.mark.parametrize("rule", [positive(), at_least(0), between(0, 2)])
def test_true_is_no_number(rule):
    assert rule.read("size", 1.0) == 1.0
    with pytest.raises(ValueError, match="size=True: it must be"):
        rule.read("size", True)
