"""What a study is: grids of models × samplers × betas × seeds, with a budget; and its file.

A definition is read as a whole: every problem is found before anything runs, and each is told
with the line of ``study.toml`` that it stands on.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sltprob.study.toml_lines import TomlPath, toml_lines

__all__ = ["Budget", "Definition", "Grid", "Problem", "StudyError", "define", "read_definition"]

_EXAMPLE = 'models = ["regular"], samplers = ["hmc"], betas = [1e2], seeds = 4'


@dataclass(frozen=True)
class Problem:
    """What is wrong with a definition, and where.

    Parameters
    ----------
    place : tuple
        Path of the key or element, such as ``("grid", 0, "models", 1)``.
    message : str
    """

    place: TomlPath
    message: str


class StudyError(ValueError):
    """Every problem of a definition at once.

    Parameters
    ----------
    problems : list of str
        One line each.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a cell may cost.

    Parameters
    ----------
    draws, warmup, chains : int
        As of `sltprob.sample`.
    init : str
        ``"prior"`` or ``"optimum"``.
    keep : str
        ``"loss"`` for scalars only, or ``"all"``.
    target_mcse : float, optional
        The stop rule: stop when lambda-hat's Monte Carlo standard error is at most this.
    """

    draws: int = 1000
    warmup: int = 500
    chains: int = 4
    init: str = "prior"
    keep: str = "loss"
    target_mcse: float | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations of some models, samplers, betas and seeds.

    Parameters
    ----------
    models : tuple of str
        Such as ``"tanh_zero[width=64]"``.
    samplers : tuple of str
        Such as ``"hmc[num_steps=64]"``.
    betas : tuple of float, dimensionless
    seeds : range or tuple of int
    budget : Budget
    """

    models: tuple[str, ...]
    samplers: tuple[str, ...]
    betas: tuple[float, ...]
    seeds: range | tuple[int, ...]
    budget: Budget


@dataclass(frozen=True)
class Definition:
    """The grids of a study, and what holds for all of them.

    Parameters
    ----------
    grids : tuple of Grid
    dtype : str
        ``"float64"``, or ``"float32"`` where beta allows it.
    exact : bool
        Compute the exact value of every (model, beta) where there is one.
    name : str
        What to call it in messages: the path of its file.
    lines : mapping of tuple to int
        The line of every key, where it came from a file.
    """

    grids: tuple[Grid, ...]
    dtype: str = "float64"
    exact: bool = True
    name: str = "study"
    lines: Mapping[TomlPath, int] = field(default_factory=dict, compare=False, repr=False)

    def error(self, problems: list[Problem]) -> StudyError:
        """Make the exception that tells the problems, each with its line.

        Parameters
        ----------
        problems : list of Problem

        Returns
        -------
        StudyError
        """
        return _error(self.name, self.lines, problems)


def _error(name: str, lines: Mapping[TomlPath, int], problems: list[Problem]) -> StudyError:
    numbered = [(_line(lines, problem.place), problem.message) for problem in problems]
    numbered.sort(key=lambda pair: pair[0])
    return StudyError(
        [f"{name}:{line}: {text}" if line else f"{name}: {text}" for line, text in numbered]
    )


def _line(lines: Mapping[TomlPath, int], place: TomlPath) -> int:
    """Find the line of a place, or of what it is part of."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)


def read_definition(path: str | os.PathLike[str]) -> Definition:
    """Read a definition from a TOML file.

    Parameters
    ----------
    path : path

    Returns
    -------
    Definition

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StudyError
        If it is not TOML, or its keys or types are not right; with every problem at once.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a study such as study.toml")
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError([f"{path}: not a TOML file: {error}"]) from None
    return define(document, name=str(path), lines=toml_lines(text))


def define(
    document: Mapping[str, Any], *, name: str = "study", lines: Mapping[TomlPath, int] | None = None
) -> Definition:
    """Make a definition from the contents of a TOML file.

    Parameters
    ----------
    document : mapping
        With the keys of ``study.toml``.
    name : str
        What to call it in messages.
    lines : mapping of tuple to int, optional
        The line of every key.

    Returns
    -------
    Definition

    Raises
    ------
    StudyError
        If its keys or types are not right; with every problem at once.
    """
    lines = {} if lines is None else lines
    reader = _Reader()
    top = reader.table(document, (), _TOP)
    shared = reader.table(top.get("budget", {}), ("budget",), _BUDGET)
    blocks = top.get("grid", [])
    single = isinstance(blocks, Mapping)
    grids = [
        reader.grid(block, ("grid",) if single else ("grid", index), shared)
        for index, block in enumerate([blocks] if single else blocks)
    ]
    if "grid" not in document:
        reader.say((), f"there is no grid; write [[grid]] with {_EXAMPLE}")
    if reader.problems:
        raise _error(name, lines, reader.problems)
    made = tuple(grid for grid in grids if grid is not None)
    options = {key: top[key] for key in ("dtype", "exact") if key in top}
    return Definition(made, **options, name=name, lines=lines)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


type _Rule = tuple[Callable[[Any], bool], str]


def _list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and bool(value) and all(map(test, value))


_TEXTS: Callable[[Any], bool] = _list_of(lambda value: isinstance(value, str))
_BUDGET: dict[str, _Rule] = {
    "draws": (lambda v: _is_whole(v) and v >= 1, "a whole number >= 1, such as 1000"),
    "warmup": (lambda v: _is_whole(v) and v >= 20, "a whole number >= 20, such as 500"),
    "chains": (lambda v: _is_whole(v) and v >= 1, "a whole number >= 1, such as 4"),
    "init": (lambda v: v in ("prior", "optimum"), '"prior" or "optimum"'),
    "keep": (lambda v: v in ("all", "loss"), '"all" or "loss"'),
    "target_mcse": (
        lambda v: _is_number(v) and 0 < v < math.inf,
        "a positive number, such as 0.02",
    ),
}
_GRID: dict[str, _Rule] = {
    "models": (_TEXTS, 'a list of texts, such as ["tanh_zero[width=64]"]'),
    "samplers": (_TEXTS, 'a list of texts, such as ["hmc", "mala"]'),
    "betas": (_list_of(_is_number), "a list of numbers, such as [1, 1e2, 1e4]"),
    "seeds": (
        lambda v: (
            (_is_whole(v) and v >= 1) or _list_of(lambda s: _is_whole(s) and 0 <= s < 2**32)(v)
        ),
        "a number of seeds such as 10, or a list of whole numbers from 0 to 2^32 - 1",
    ),
    "budget": (lambda v: isinstance(v, Mapping), "a table, such as {draws = 5000}"),
}
_TOP: dict[str, _Rule] = {
    "dtype": (lambda v: v in ("float64", "float32"), '"float64" or "float32"'),
    "exact": (lambda v: isinstance(v, bool), "true or false"),
    "budget": (lambda v: isinstance(v, Mapping), "a table: [budget] with draws = 1000"),
    "grid": (
        lambda v: isinstance(v, Mapping) or _list_of(lambda block: isinstance(block, Mapping))(v),
        f"a table: [[grid]] with {_EXAMPLE}",
    ),
}


class _Reader:
    """Reads tables by their rules, and keeps every problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def say(self, place: TomlPath, message: str) -> None:
        self.problems.append(Problem(place, message))

    def table(
        self, table: Mapping[str, Any], place: TomlPath, rules: Mapping[str, _Rule]
    ) -> dict[str, Any]:
        """Give the keys that are right."""
        good = {}
        for key, value in table.items():
            if key not in rules:
                self.say((*place, key), f"unknown key {key!r}; there are: {', '.join(rules)}")
            elif not rules[key][0](value):
                self.say((*place, key), f"{key} = {value!r}: it must be {rules[key][1]}")
            else:
                good[key] = value
        return good

    def grid(
        self, table: Mapping[str, Any], place: TomlPath, shared: Mapping[str, Any]
    ) -> Grid | None:
        good = self.table(table, place, _GRID)
        for key in ("models", "samplers", "betas", "seeds"):
            if key not in table:
                self.say(place, f"the grid has no {key}; write {key} = {_GRID[key][1]}")
        own = self.table(good.get("budget", {}), (*place, "budget"), _BUDGET)
        if any(key not in good for key in ("models", "samplers", "betas", "seeds")):
            return None
        return Grid(
            models=tuple(good["models"]),
            samplers=tuple(good["samplers"]),
            betas=tuple(map(float, good["betas"])),
            seeds=range(good["seeds"]) if _is_whole(good["seeds"]) else tuple(good["seeds"]),
            budget=Budget(**{**shared, **own}),
        )
