"""What a study is: grids of models × samplers × betas × seeds, with a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sltprob.grids.toml_lines import TomlPath

__all__ = ["Budget", "Definition", "Grid", "Mistake", "StudyError"]


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a definition, and where."""

    place: TomlPath  # Path of the key or element, such as ``("grid", 0, "models", 1)``
    message: str


class StudyError(ValueError):
    """Every problem of a definition at once."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a cell may cost."""

    draws: int = 1000  # As of `sltprob.sample`
    warmup: int = 500  # As of `sltprob.sample`
    chains: int = 4  # As of `sltprob.sample`
    init: str = "prior"  # ``"prior"``, ``"optimum"`` or ``"both"``
    keep: str = "loss"  # ``"loss"`` for scalars only, or ``"all"``
    # The stop rule: stop when lambda-hat's Monte Carlo error is at most this, or "2%" of it
    target_mcse: float | str | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations of some models, samplers, betas and seeds."""

    place: TomlPath  # Where it stands in the file, such as ``("grid", 0)``
    models: tuple[str, ...]  # Such as ``"tanh_zero[width=64]"``, or ``"mine.py:program"``
    samplers: tuple[str, ...]  # Such as ``"hmc[num_steps=64]"``
    betas: tuple[float | str, ...]  # numbers, ``"n"`` or ``"wbic"``
    seeds: range | tuple[int, ...]
    budget: Budget
    data: str | None = None  # the file with the arguments of programs of one's own


@dataclass(frozen=True)
class Definition:
    """The grids of a study, and what holds for all of them."""

    grids: tuple[Grid, ...]
    dtype: str = "float64"  # ``"float64"``, or ``"float32"`` where beta allows it
    exact: bool = True  # Compute the exact value of every (model, beta) where there is one
    name: str = "study"  # what to call it in messages: the path of its file
    folder: Path = Path()  # what the paths of programs and data start from
    # The line of every key, where it came from a file
    lines: Mapping[TomlPath, int] = field(default_factory=dict, compare=False, repr=False)
    # What is wrong with it so far. What is not wrong is there, so that it can be checked too.
    problems: tuple[Mistake, ...] = ()

    def error(self, problems: list[Mistake]) -> StudyError:
        """Make the exception that tells the problems, each with its line."""
        numbered = [(self._line(problem.place), problem.message) for problem in problems]
        numbered.sort(key=lambda pair: pair[0])
        return StudyError(
            [
                f"{self.name}:{line}: {text}" if line else f"{self.name}: {text}"
                for line, text in numbered
            ]
        )

    def _line(self, place: TomlPath) -> int:
        """Find the line of a place, or of what it is part of."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)
