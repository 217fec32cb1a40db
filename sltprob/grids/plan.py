"""The cells of a study, checked as a whole and made one by one.

A cell is determined by its model and data, sampler, beta, seed, budget, precision and the
versions of the programs; its key is the hash of all these. Cells are never in a list: a plan of
a million of them takes as much memory as one of ten.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from sltprob import samplers
from sltprob.grids.definition import Budget, Definition, Grid, Mistake
from sltprob.grids.toml_lines import TomlPath
from sltprob.posterior import TemperedPosterior
from sltprob.problem import Problem, problem
from sltprob.program import is_program

__all__ = ["Cell", "Plan", "Setting", "make_plan"]

_PACKAGES = ("sltprob", "jax", "jaxlib", "numpyro", "blackjax", "numpy")
# A cell up to this size is a small one: many of them share one call.
_SMALL_STEPS = 200
_SMALL_BYTES = 1_000_000
# Scalars recorded per draw, generously.
_SCALARS = 16


@dataclass(frozen=True)
class OwnProgram:
    """A program of the user's own, and where its data are."""

    program: str  # ``path.py:function``, the path complete
    data: str
    source: str  # Hash of the file of the program
    betas: tuple[float, ...]  # of all cells: one run of a ladder is the reference for all

    @property
    def problem(self) -> Problem:
        """The program with its data; read and traced once in each process."""
        return _own_problem(self.program, self.data, self.source)


@cache
def _own_problem(program: str, data: str, _source: str) -> Problem:
    return problem(program, data)


@dataclass(frozen=True)
class Setting:
    """What cells have in common that share one compilation."""

    model: str  # Specifications, in their shortest form
    sampler: str  # Specifications, in their shortest form
    budget: Budget
    dtype: str
    exact: bool  # whether the exact value is put beside the draws
    data: str  # Hash of the data and the weights
    dimension: int
    own: OwnProgram | None = None

    @cached_property
    def document(self) -> bytes:
        """Everything that determines a cell, apart from beta and seed, as canonical JSON."""
        # Not where the files of a program are, but what is in them.
        own = {} if self.own is None else {"program": self.own.source}
        fields = {
            **dataclasses.asdict(dataclasses.replace(self, own=None)),
            **own,
            "versions": {package: _version(package) for package in _PACKAGES},
            "format": 1,
        }
        del fields["own"]
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @property
    def is_small(self) -> bool:
        """Whether many of these cells share one call; it depends on nothing but the setting."""
        budget = self.budget
        values = self.dimension if budget.keep == "all" else 0
        size = 8 * budget.chains * (budget.draws + budget.warmup) * (_SCALARS + values)
        return (
            budget.target_mcse is None
            and budget.init == "prior"
            # A start is looked for, as its prior may have draws of no density.
            and self.own is None
            and budget.draws + budget.warmup <= _SMALL_STEPS
            and size <= _SMALL_BYTES
        )


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    setting: Setting
    beta: float
    seed: int

    @property
    def key(self) -> str:
        """The address of the cell: SHA-256 of all that determines it."""
        own = f'{{"cell":{{"beta":{self.beta!r},"seed":{self.seed}}},"setting":'
        return hashlib.sha256(own.encode() + self.setting.document + b"}").hexdigest()

    def __str__(self) -> str:
        setting = self.setting
        return f"{setting.model} {setting.sampler} β={self.beta:g} seed={self.seed}"


@dataclass(frozen=True)
class Block:
    """The cells of one setting."""

    setting: Setting
    betas: tuple[float, ...]
    seeds: range | tuple[int, ...]

    def __len__(self) -> int:
        return len(self.betas) * len(self.seeds)

    def cells(self) -> Iterator[Cell]:
        """Make the cells, one by one."""
        for beta in self.betas:
            for seed in self.seeds:
                yield Cell(self.setting, beta, seed)


@dataclass(frozen=True)
class Plan:
    """A study that was checked."""

    definition: Definition
    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def cells(self) -> Iterator[Cell]:
        """Make the cells, one by one, those that share a compilation together."""
        for block in self.blocks:
            yield from block.cells()


def make_plan(definition: Definition) -> Plan:
    """Check a definition as a whole, and say which cells it has."""
    if jax.config.jax_enable_x64 != (definition.dtype == "float64"):
        instead = "True" if definition.dtype == "float64" else "False"
        raise ValueError(
            f"{definition.name}: the study is in {definition.dtype}, and JAX is not; write "
            f"numpyro.enable_x64({instead}) before anything else"
        )
    checker = _Checker(definition)
    for grid in definition.grids:
        checker.grid(grid)
    if checker.problems:
        raise definition.error(checker.problems)
    return Plan(definition, tuple(checker.blocks))


class _Checker:
    """Goes through the grids, and keeps every problem."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.problems: list[Mistake] = list(definition.problems)
        self.blocks: list[Block] = []

    def attempt(self, place: TomlPath, make: Any) -> Any:
        """Give what `make` gives, or None and a problem."""
        try:
            return make()
        except (ValueError, TypeError, OSError) as error:
            self.problems.append(Mistake(place, " ".join(str(error).split())))
            return None

    def grid(self, grid: Grid) -> None:
        place = grid.place
        chosen = self.each("models", grid.models, place, self.problem(grid), _name)
        kernels = self.each("samplers", grid.samplers, place, samplers.get, samplers.specification)
        written = self.each("betas", grid.betas, place, _positive, str)
        self.each("seeds", grid.seeds if isinstance(grid.seeds, tuple) else (), place, int, str)
        for (model, own), name in chosen.values():
            posterior = model.posterior
            data = _hash(posterior)
            read = _beta(model)
            betas = [
                self.attempt((*place, "betas", at_beta), lambda b=beta, read=read: read(b))
                for at_beta, (beta, _) in written.items()
            ]
            values = tuple(dict.fromkeys(beta for beta in betas if beta is not None))
            if own is not None:
                own = dataclasses.replace(own, betas=values)
            for at_sampler, (kernel, text) in kernels.items():
                if (reason := kernel.applies_to(posterior)) is not None:
                    message = f"{text} does not apply to {name}: {reason}; leave it out"
                    self.problems.append(Mistake((*place, "samplers", at_sampler), message))
                    continue
                setting = Setting(
                    name,
                    text,
                    grid.budget,
                    self.definition.dtype,
                    self.definition.exact,
                    data,
                    posterior.dimension,
                    own,
                )
                self.add(Block(setting, values, grid.seeds), place)

    def problem(self, grid: Grid) -> Callable[[str], tuple[Problem, OwnProgram | None]]:
        """Give what reads a model of a grid, or a program with its data."""
        folder = self.definition.folder

        def read(text: str) -> tuple[Problem, OwnProgram | None]:
            if not is_program(text):
                return problem(text), None
            if grid.data is None:
                raise ValueError(f'{text} needs its data; write data = "data.csv" in its grid')
            path, _, function = text.rpartition(":")
            own = OwnProgram(
                f"{(folder / path).resolve()}:{function}",
                str((folder / grid.data).resolve()),
                hashlib.sha256((folder / path).read_bytes()).hexdigest(),
                (),
            )
            return own.problem, own

        return read

    def each(
        self, key: str, values: Any, place: TomlPath, make: Any, write: Any
    ) -> dict[int, tuple[Any, str]]:
        """Make the elements of a list that are right, with their index and their name."""
        made: dict[int, tuple[Any, str]] = {}
        for index, value in enumerate(values):
            where = (*place, key, index)
            thing = self.attempt(where, lambda value=value: make(value))
            if thing is None:
                continue
            name = write(thing)
            if name in (other for _, other in made.values()):
                self.problems.append(Mistake(where, f"{value!r} comes twice; leave one out"))
            else:
                made[index] = thing, name
        return made

    def add(self, block: Block, place: TomlPath) -> None:
        for other in self.blocks:
            if (
                other.setting == block.setting
                and set(other.betas) & set(block.betas)
                and set(other.seeds) & set(block.seeds)
            ):
                message = f"{block.setting.model} with {block.setting.sampler} has cells in two"
                self.problems.append(Mistake(place, f"{message} grids; leave them out of one"))
                return
        self.blocks.append(block)


def _name(made: tuple[Problem, OwnProgram | None]) -> str:
    return made[0].name


def _positive(beta: float | str) -> float | str:
    if not isinstance(beta, str) and not 0 < beta < float("inf"):
        raise ValueError(f"beta={beta:g}: it must be positive and finite, such as 1e4")
    return beta


def _beta(model: Problem) -> Callable[[float | str], float]:
    """Give what reads a beta of a model: positive, and within what the precision can tell."""

    def read(value: float | str) -> float:
        beta = model.beta(value)
        model.posterior.at(beta)
        return beta

    return read


def _hash(posterior: TemperedPosterior) -> str:
    """Hash what the model is measured on."""
    digest = hashlib.sha256(repr(posterior.structure.constants).encode())
    named = {**posterior.arguments, "": posterior.weights, "L*": posterior.minimum_loss}
    for name in sorted(named):
        values = np.asarray(named[name])
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


@cache
def _version(package: str) -> str:
    return version(package)
