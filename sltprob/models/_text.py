"""Options of `deep_linear`, read by the rules of `sltprob.spec`."""

from __future__ import annotations

from collections.abc import Sequence

from sltprob.spec import number_list, one_of, positive, write_numbers

__all__ = ["check_choice", "check_positive", "read_whole_numbers", "write_numbers"]


def read_whole_numbers(
    name: str, text: str | Sequence[float], least: int, example: str
) -> tuple[int, ...]:
    """Read a list of whole numbers that are not below a least one."""
    return tuple(int(part) for part in number_list(least).read(name, text, example).split(":"))


def check_positive(name: str, value: float, example: float) -> None:
    """Refuse what is not positive and finite."""
    positive().read(name, value, example)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse what is not one of the choices."""
    one_of(*choices).read(name, value)
