"""Configuration as text that round-trips: ``hmc[num_steps=64]``.

One notation serves the command line, the tables, the stored runs and the reports. A
specification is a registry name, followed by options in brackets when they differ from the
defaults; a value may itself be a specification (``tanh_zero[embedding_prior=normal[1]]``).

A class says what an option may be beside its type, and nowhere else::

    num_steps: Annotated[int | None, whole(1, example=16, none="to choose it")] = None
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import math
import numbers
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = [
    "Registry",
    "Rule",
    "at_least",
    "between",
    "build",
    "check_options",
    "defaults",
    "describe",
    "finite",
    "number_list",
    "one_of",
    "parse",
    "positive",
    "read_numbers",
    "split_outside_brackets",
    "whole",
    "write_numbers",
]


@dataclasses.dataclass(frozen=True)
class Rule:
    """What the value of an option must be."""

    wanted: str  # as the end of "it must be"
    allows: Callable[[Any], bool]
    example: Any = None  # None for the default of the option
    none: str | None = None  # what None stands for, where it is allowed: "to adapt it"

    def read(self, name: str, value: Any, default: Any = None) -> Any:
        """Give the value in its one form, or refuse it."""
        if value is None and self.none is not None:
            return value
        try:
            allowed = self.allows(value)
        except (TypeError, ValueError):  # another type, or text that is no number
            allowed = False
        if allowed:
            return self.written(value)
        example = default if self.example is None else self.example
        such = "" if example is None or example == "" else f", such as {example}"
        none = f", or none {self.none}" if self.none else ""
        raise ValueError(f"{name}={value}: it must be {self.wanted}{such}{none}")

    def written(self, value: Any) -> Any:
        """Give an allowed value in its one form."""
        return value


class _NumberList(Rule):
    def written(self, value: Any) -> str:
        return write_numbers(read_numbers("", value, ""))


def whole(
    least: int, most: float = math.inf, *, example: int | None = None, none: str | None = None
) -> Rule:
    """Ask for a whole number."""
    wanted = f">= {least}" if most == math.inf else f"from {least} to {most}"
    return Rule(
        f"a whole number {wanted}", lambda value: _is_whole(value, least, most), example, none
    )


def _is_whole(value: Any, least: float, most: float = math.inf) -> bool:
    integral = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return integral and least <= value <= most


def _lies(value: Any, within: bool) -> bool:
    """Say whether a value is within bounds; True is no number, though Python takes it for 1."""
    return within and not isinstance(value, bool)


def positive(*, example: float | None = None, none: str | None = None) -> Rule:
    """Ask for a positive, finite number."""
    return Rule(
        "positive and finite", lambda value: _lies(value, 0 < value < math.inf), example, none
    )


def finite() -> Rule:
    """Ask for a finite number."""
    return Rule("finite", math.isfinite)


def at_least(low: float, *, example: float | None = None, none: str | None = None) -> Rule:
    """Ask for a finite number that is not below a bound."""
    return Rule(f">= {low}", lambda value: _lies(value, low <= value < math.inf), example, none)


def between(low: float, high: float, *, example: float | None = None) -> Rule:
    """Ask for a number inside an open interval."""
    return Rule(
        f"between {low} and {high}", lambda value: _lies(value, low < value < high), example
    )


def one_of(*choices: str) -> Rule:
    """Ask for one of some words."""
    words = " or ".join(choices) if len(choices) < 3 else f"one of {', '.join(choices)}"
    return Rule(words, lambda value: value in choices, "")


def number_list(least: int) -> Rule:
    """Ask for a list of whole numbers, see `read_numbers`."""

    def allows(value: Any) -> bool:
        found = read_numbers("", value, "")
        return all(number.is_integer() and number >= least for number in found)

    return _NumberList(f"whole numbers >= {least} with : between them", allows)


def read_numbers(name: str, text: str | Sequence[float], example: str) -> tuple[float, ...]:
    """Read a list of finite numbers: ``2:4:6``, ``[2,4,6]``, or a sequence."""
    parts: Sequence[Any] = text
    try:
        if isinstance(text, str):
            parts = text.strip().removeprefix("[").removesuffix("]").replace(",", ":").split(":")
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        found = ()
    if not found or not all(math.isfinite(number) for number in found):
        raise ValueError(f"{name}={text}: it must be numbers with : between them, as in {example}")
    return found


def write_numbers(values: Sequence[float]) -> str:
    """Write a list of numbers so that it reads back equal, whole numbers without a point."""
    return ":".join(
        str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
        for value in values
    )


@functools.cache
def _rules(cls: type) -> dict[str, Rule]:
    """Find the rules that a class declares for its options."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError:  # names that only a type checker sees: no rule is among them
        return {}
    return {
        name: part
        for name, hint in hints.items()
        for part in getattr(hint, "__metadata__", ())
        if isinstance(part, Rule)
    }


def check_options(thing: Any) -> None:
    """Check the options of a frozen dataclass, and write each in its one form."""
    cls: Any = type(thing)
    rules = _rules(cls)
    for field in dataclasses.fields(thing):
        if field.name in rules:
            value = getattr(thing, field.name)
            read = rules[field.name].read(field.name, value, field.default)
            object.__setattr__(thing, field.name, read)


def split_outside_brackets(text: str) -> list[str]:
    """Split at commas that stand outside all brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth != 0:
        raise ValueError(f"the brackets of {text!r} do not match; write name[option=value,...]")
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Parse a specification into its name and its options."""
    text = text.strip()
    name, bracket, rest = text.partition("[")
    if (bracket and not rest.endswith("]")) or not name.strip():
        raise ValueError(f"{text!r} is not a specification; write name or name[option=value,...]")
    options: dict[str, str] = {}
    for part in split_outside_brackets(rest[:-1] if bracket else ""):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ValueError(f"{part!r} in {text!r} is not an option; write option=value")
        if key.strip() in options:
            raise ValueError(f"option {key.strip()!r} comes twice in {text!r}; give it once")
        options[key.strip()] = value.strip()
    return name.strip(), options


def _convert(text: str, annotation: Any) -> Any:
    """Convert the text of an option to the type of its field."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        choices = typing.get_args(annotation)
        if type(None) in choices and text.lower() == "none":
            return None
        return _convert(text, next(choice for choice in choices if choice is not type(None)))
    if annotation is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ValueError("true or false")
    if annotation is int:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not number.is_integer():
            raise ValueError("a whole number")
        return int(text) if text.lstrip("+-").isdigit() else int(number)
    if annotation is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError("a number") from None
    return text


def defaults(cls: type) -> dict[str, Any]:
    """Give the options of a class with their defaults, its own before those it inherits."""
    options = [field for field in dataclasses.fields(cls) if field.init]
    own = vars(cls).get("__annotations__", {})
    options.sort(key=lambda option: option.name not in own)
    return {option.name: option.default for option in options}


def build[T](cls: type[T], name: str, options: Mapping[str, str]) -> T:
    """Make an object from the text of its options."""
    hints = typing.get_type_hints(cls)
    known = list(defaults(cls))
    values = {}
    for key, text in options.items():
        if key not in known:
            have = ", ".join(known) if known else "none"
            raise ValueError(f"{name} has no option {key!r}; its options are: {have}")
        try:
            values[key] = _convert(text, hints[key])
        except ValueError as error:
            raise ValueError(f"{name}[{key}={text}]: {key} takes {error}") from None
    return cls(**values)


def _show(value: Any) -> str:
    """Write a value so that it reads back equal."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return short if float(short := f"{value:g}") == value else repr(value)
    return str(value)


def describe(thing: Any, name: str) -> str:
    """Write the specification of an object: its name and the options that are not default."""
    options = []
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        if field.init and value != field.default:
            options.append(f"{field.name}={_show(value)}")
    return f"{name}[{','.join(options)}]" if options else name


@functools.lru_cache(maxsize=8)
def _entry_points(
    group: str, _path: tuple[str, ...]
) -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Find what other distributions register; to look at all of them takes 30 milliseconds."""
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def _owner(point: importlib.metadata.EntryPoint) -> str:
    """Say whose an entry point is."""
    return f"{point.value} (package {point.dist.name if point.dist else 'not known'})"


class Registry[T]:
    """The objects of one kind, found by file name or by entry point.

    A module of the package registers its class by being there: the module's name is the name,
    and its ``__all__`` names the class and nothing else. Another distribution registers its own
    through an entry point. A module whose name starts with an underscore, and ``base``, are not
    entries.
    """

    def __init__(self, package: str, kind: str) -> None:
        self.package = package
        self.kind = kind

    def _entry_points(self) -> dict[str, list[importlib.metadata.EntryPoint]]:
        return _entry_points(self.package, tuple(sys.path))

    def _modules(self) -> set[str]:
        path = importlib.import_module(self.package).__path__
        return {
            module.name
            for module in pkgutil.iter_modules(path)
            if not module.name.startswith("_") and module.name != "base"
        }

    def names(self) -> list[str]:
        """List the names, sorted."""
        return sorted(self._modules() | set(self._entry_points()))

    def type_of(self, name: str) -> type[T]:
        """Find the class of a name."""
        points = self._entry_points().get(name, [])
        ours = name in self._modules()
        if len(points) + ours > 1:
            owners = [f"{self.package}.{name}"] * ours + [_owner(point) for point in points]
            raise ValueError(
                f"{self.kind} {name!r} is the name of {' and of '.join(owners)}; uninstall one, or "
                "pass an object of the class instead of its name"
            )
        if ours:
            module = importlib.import_module(f"{self.package}.{name}")
            (class_name,) = module.__all__
            return typing.cast("type[T]", getattr(module, class_name))
        if not points:
            known = ", ".join(self.names())
            raise ValueError(f"unknown {self.kind} {name!r}; there are: {known}")
        try:
            found = points[0].load()
        except Exception as error:  # whatever another package does when it is imported
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ValueError(
                f"{self.kind} {name!r} of {_owner(points[0])} cannot be loaded ({reason}); repair "
                "or uninstall it"
            ) from error
        if not isinstance(found, type):
            raise ValueError(
                f"{self.kind} {name!r} of {_owner(points[0])} is a {type(found).__name__}; its "
                "entry point must name a class"
            )
        return typing.cast("type[T]", found)

    def types(self) -> tuple[dict[str, type[T]], list[str]]:
        """Find all classes by name, and say of each that cannot be had why."""
        found, problems = {}, []
        for name in self.names():
            try:
                found[name] = self.type_of(name)
            except ValueError as error:
                problems.append(str(error))
        return found, problems

    def get(self, text: str) -> T:
        """Make the object that a specification describes."""
        name, options = parse(text)
        return build(self.type_of(name), name, options)

    def specification(self, thing: Any) -> str:
        """Write the text from which `get` makes an equal object."""
        return describe(thing, self.name_of(thing))

    def name_of(self, thing: Any) -> str:
        """Give the registry name of an object, or its class name if it is in no registry."""
        module = type(thing).__module__
        if module.startswith(self.package + "."):
            return module.rpartition(".")[2]
        for name, points in self._entry_points().items():
            if any(point.value == f"{module}:{type(thing).__qualname__}" for point in points):
                return name
        return type(thing).__name__
