"""What a study is: grids of models × samplers × betas × seeds, with a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sltprob.study.toml_lines import TomlPath

__all__ = ["Budget", "Definition", "Grid", "Problem", "StudyError"]


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
        ``"prior"``, ``"optimum"`` or ``"both"``.
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
    place : tuple
        Where it stands in the file, such as ``("grid", 0)``.
    models : tuple of str
        Such as ``"tanh_zero[width=64]"``.
    samplers : tuple of str
        Such as ``"hmc[num_steps=64]"``.
    betas : tuple of float, dimensionless
    seeds : range or tuple of int
    budget : Budget
    """

    place: TomlPath
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
    problems : tuple of Problem
        What is wrong with it so far. What is not wrong is there, so that it can be checked too.
    """

    grids: tuple[Grid, ...]
    dtype: str = "float64"
    exact: bool = True
    name: str = "study"
    lines: Mapping[TomlPath, int] = field(default_factory=dict, compare=False, repr=False)
    problems: tuple[Problem, ...] = ()

    def error(self, problems: list[Problem]) -> StudyError:
        """Make the exception that tells the problems, each with its line.

        Parameters
        ----------
        problems : list of Problem

        Returns
        -------
        StudyError
        """
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
