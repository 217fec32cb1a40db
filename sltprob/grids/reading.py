"""Read the definition of a study from ``study.toml``, or from a mapping with its keys.

It is read as a whole: every problem is kept, with its place, and so is everything that is right.
So `sltprob.grids.plan.make_plan`, which knows models and samplers, tells all problems at once.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sltprob.grids.definition import Budget, Definition, Grid, Mistake, StudyError
from sltprob.grids.toml_lines import TomlPath, toml_lines

__all__ = ["define", "read_definition"]

_EXAMPLE = 'models = ["regular"], samplers = ["hmc"], betas = [1e2], seeds = 4'
_LARGEST = 10**9
_SEEDS = 2**32
# Where in the text tomllib gave up, which it tells in words only.
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


def read_definition(path: str | os.PathLike[str]) -> Definition:
    """Read a definition from a TOML file."""
    path = Path(path)
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        raise FileNotFoundError(f"{path}: {what}; give a study such as study.toml")
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise StudyError([f"{path}: not a TOML file: {error}"]) from None
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        line = (found and found[1]) or text.rstrip().count("\n") + 1
        said = _TOML_PLACE.sub("", str(error))
        raise StudyError([f"{path}:{line}: not TOML: {said}"]) from None
    except (RecursionError, ValueError) as error:
        # Lists in lists without end, or a number of thousands of digits.
        raise StudyError([f"{path}: not a study: {error}"]) from None
    return define(document, name=str(path), lines=toml_lines(text), folder=path.parent)


def define(
    document: Mapping[str, Any],
    *,
    name: str = "study",
    lines: Mapping[TomlPath, int] | None = None,
    folder: Path = Path(),
) -> Definition:
    """Make a definition from the contents of a TOML file."""
    reader = _Reader()
    top = reader.table(document, (), _TOP)
    shared = reader.table(top.get("budget", {}), ("budget",), _BUDGET)
    blocks = top.get("grid", [])
    # A single [grid] has no index.
    places: dict[TomlPath, Any] = (
        {("grid",): blocks}
        if isinstance(blocks, Mapping)
        else {("grid", index): block for index, block in enumerate(blocks)}
    )
    data = top.get("data")
    grids = tuple(reader.grid(block, place, shared, data) for place, block in places.items())
    if "grid" not in document:
        reader.say((), f"there is no grid; write [[grid]] with {_EXAMPLE}")
    options = {key: top[key] for key in ("dtype", "exact") if key in top}
    return Definition(
        grids,
        **options,
        name=name,
        folder=folder,
        lines={} if lines is None else lines,
        problems=tuple(reader.problems),
    )


@dataclass(frozen=True)
class _Rule:
    """What a value must be, in a test and in words, and one that would do."""

    test: Callable[[Any], bool]
    words: str
    example: str
    #: Of the elements, if the value is a list.
    element: _Rule | None = None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_target(value: Any) -> bool:
    if isinstance(value, str) and value.endswith("%"):
        try:
            value = float(value[:-1])
        except ValueError:
            return False
    return _is_number(value) and 0 < value < math.inf


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _whole(least: int, example: int) -> _Rule:
    return _Rule(
        lambda value: _is_whole(value) and least <= value <= _LARGEST,
        f"a whole number from {least} to 10^9",
        str(example),
    )


def _one_of(*texts: str) -> _Rule:
    return _Rule(lambda value: value in texts, " or ".join(map(_written, texts)), "")


def _written(value: Any) -> str:
    """Write a value as TOML has it, cut where it is long."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(map(_written, value))}]"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


_TEXT = _Rule(lambda value: isinstance(value, str), "a text", "")
_BUDGET = {
    "draws": _whole(1, 1000),
    "warmup": _whole(20, 500),
    "chains": _whole(1, 4),
    "init": _one_of("prior", "optimum", "both"),
    "keep": _one_of("all", "loss"),
    "target_mcse": _Rule(_is_target, "a positive number, or a part of λ̂", '0.02 or "2%"'),
}
_GRID = {
    "models": _Rule(_is_list, "a list of texts", '["tanh_zero[width=64]"]', _TEXT),
    "samplers": _Rule(_is_list, "a list of texts", '["hmc", "mala"]', _TEXT),
    "betas": _Rule(
        _is_list,
        "a list of numbers",
        "[1, 1e2, 1e4]",
        _Rule(
            lambda value: _is_number(value) or value in ("n", "wbic"),
            'a number, "n" or "wbic"',
            "1e4",
        ),
    ),
    "seeds": _Rule(
        lambda value: (_is_whole(value) and 1 <= value <= _SEEDS) or _is_list(value),
        "a number of seeds from 1 to 2^32, or a list of them",
        "10",
        _Rule(
            lambda value: _is_whole(value) and 0 <= value < _SEEDS,
            "a whole number from 0 to 2^32 - 1",
            "",
        ),
    ),
}
_BUDGET_TABLE = _Rule(_is_table, "a table", "{draws = 5000}")
_TOP = {
    "dtype": _one_of("float64", "float32"),
    "exact": _Rule(lambda value: isinstance(value, bool), "true or false", ""),
    "data": _Rule(lambda value: isinstance(value, str), "a text", '"data.csv"'),
    "budget": _BUDGET_TABLE,
    "grid": _Rule(
        lambda value: _is_table(value) or _is_list(value),
        f"a table: [[grid]] with {_EXAMPLE}",
        "",
        _Rule(_is_table, "a table", ""),
    ),
}


class _Reader:
    """Reads tables by their rules, and keeps every problem."""

    def __init__(self) -> None:
        self.problems: list[Mistake] = []

    def say(self, place: TomlPath, message: str) -> None:
        self.problems.append(Mistake(place, message))

    def table(
        self, table: Mapping[str, Any], place: TomlPath, rules: Mapping[str, _Rule]
    ) -> dict[str, Any]:
        """Give the keys that are right."""
        good = {}
        for key, value in table.items():
            where = (*place, key)
            if key not in rules:
                self.say(where, f"unknown key {key!r}; there are: {', '.join(rules)}")
            elif self.follows(value, where, rules[key], key):
                good[key] = value
        return good

    def follows(self, value: Any, place: TomlPath, rule: _Rule, what: str) -> bool:
        """Say whether a value is as it must be."""
        if not rule.test(value):
            such = f", such as {rule.example}" if rule.example else ""
            self.say(place, f"{what} = {_written(value)}: it must be {rule.words}{such}")
            return False
        if rule.element is None or not isinstance(value, Sequence):
            return True
        # A list, since `all` would stop at the first problem.
        right = [
            self.follows(element, (*place, index), rule.element, f"{what}[{index}]")
            for index, element in enumerate(value)
        ]
        return all(right)

    def grid(
        self,
        table: Mapping[str, Any],
        place: TomlPath,
        shared: Mapping[str, Any],
        data: str | None,
    ) -> Grid:
        good = self.table(table, place, {**_GRID, "data": _TEXT, "budget": _BUDGET_TABLE})
        for key, rule in _GRID.items():
            if key not in table:
                self.say(place, f"the grid has no {key}; write {key} = {rule.example}")
        own = self.table(good.get("budget", {}), (*place, "budget"), _BUDGET)
        seeds = good.get("seeds", ())
        return Grid(
            place=place,
            models=tuple(good.get("models", ())),
            samplers=tuple(good.get("samplers", ())),
            betas=tuple(b if isinstance(b, str) else float(b) for b in good.get("betas", ())),
            seeds=range(seeds) if _is_whole(seeds) else tuple(seeds),
            budget=Budget(**{**shared, **own}),
            data=good.get("data", data),
        )
