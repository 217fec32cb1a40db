"""What the checkpoints of a training are called, their order, and the steps in their names."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["named_checkpoints", "steps_of"]

_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")
_ENDINGS = (".safetensors", ".npz")


def named_checkpoints(given: Any) -> list[tuple[str, Any]]:
    """Give checkpoints by names that tell them apart.

    Parameters
    ----------
    given : str, sequence of path, or mapping of name to pytree

    Returns
    -------
    list of (str, path or pytree)
        Files in the order of the numbers in their names, a mapping in its own.

    Raises
    ------
    TypeError
        If `given` is a sequence of something else than paths.
    ValueError
        If there are none, or two have the same name.
    """
    if isinstance(given, Mapping):
        found = [(str(name), params) for name, params in given.items()]
        if twice := _twice([name for name, _ in found]):
            raise ValueError(f"checkpoints has two of the name {twice!r}; rename one")
    elif isinstance(given, str | os.PathLike):
        found = _named([Path(text) for text in glob.glob(str(given))])
    else:
        given = list(given)
        for item in given:
            if not isinstance(item, str | os.PathLike):
                raise TypeError(
                    f"checkpoints has a {type(item).__name__}; give paths, or parameters by name "
                    "such as {100: params}"
                )
        found = _named([Path(path) for path in given])
    if not found:
        raise ValueError(
            f"checkpoints={given!r}: there are none; give a pattern such as 'ckpts/*.safetensors'"
        )
    return found


def steps_of(names: Sequence[str]) -> tuple[float, ...]:
    """Give the steps of a training that are in the names of its checkpoints.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    tuple of float
        Of the numbers that differ between all names, and follow the same text in each, the one
        that grows; of several a whole one, then the last. The place of each where there is none.
    """
    try:
        plain = tuple(map(float, names))
    except ValueError:
        plain = ()
    columns = [plain, *_columns(names)]
    usable = [
        column
        for column in columns
        if column and all(map(math.isfinite, column)) and len(set(column)) == len(column)
    ]
    if not usable:
        return tuple(float(index) for index in range(len(names)))

    def fitness(index: int) -> tuple[bool, bool, int]:
        column = usable[index]
        whole = all(value.is_integer() for value in column)
        return list(column) == sorted(column), whole, index

    return usable[max(range(len(usable)), key=fitness)]


def _columns(names: Sequence[str]) -> list[tuple[float, ...]]:
    """Give the numbers that follow the same text in every name; else the last of every name."""
    numbers = []
    for name in names:
        found: dict[tuple[str, int], float] = {}
        texts = _NUMBER.split(name)
        for text, number in zip(texts[::2], texts[1::2], strict=False):
            found[text, sum(text == other for other, _ in found)] = float(number)
        numbers.append(found)
    shared = [label for label in numbers[0] if all(label in found for found in numbers)]
    if shared:
        return [tuple(found[label] for found in numbers) for label in shared]
    return [tuple([*found.values()][-1] for found in numbers)] if all(numbers) else []


def _named(paths: list[Path]) -> list[tuple[str, Path]]:
    """Name files by as much of their paths as tells them apart."""
    if twice := _twice([os.path.abspath(path) for path in paths]):
        raise ValueError(f"checkpoints has the file {twice} twice; leave one out")
    names: list[str] = []
    for shown in (_stem, _name):
        for depth in range(max((len(path.absolute().parts) for path in paths), default=0)):
            names = [_with_folders(path, depth, shown) for path in paths]
            if not _twice(names):
                return sorted(zip(names, paths, strict=True), key=lambda pair: _in_order(pair[0]))
    return list(zip(names, paths, strict=True))


def _stem(path: Path) -> str:
    # A folder has no ending: step-0.1 is all of its name.
    return path.stem if path.suffix in _ENDINGS else path.name


def _name(path: Path) -> str:
    return path.name


def _with_folders(path: Path, depth: int, shown: Callable[[Path], str]) -> str:
    parents = path.absolute().parent.parts[1:]
    return "/".join([*parents[len(parents) - min(depth, len(parents)) :], shown(path)])


def _in_order(name: str) -> list[Any]:
    """Sort step-9 before step-10."""
    return [float(part) if index % 2 else part for index, part in enumerate(_NUMBER.split(name))]


def _twice(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
