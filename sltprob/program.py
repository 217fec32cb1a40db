"""A NumPyro program of the user's own, from a file."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["is_program", "load_program"]


def is_program(text: Any) -> bool:
    """Say whether a text names a function in a file, and not a model of the registry."""
    return isinstance(text, str) and ".py:" in text


def load_program(text: str) -> Callable[..., Any]:
    """Load a function from a file."""
    path_text, colon, name = text.rpartition(":")
    path = Path(path_text)
    if not colon or path.suffix != ".py":
        raise ValueError(f"{text!r} is not a program; write path/to/file.py:function")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; write path/to/file.py:function")
    known = path.stat()
    module = _module(path.resolve(), known.st_mtime_ns, known.st_size)
    program = getattr(module, name, None)
    if not callable(program):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise ValueError(f"{path} has no function {name!r}; it has {', '.join(functions)}")
    # What a run calls it: two files may have a function of one name. A method, or an object without
    # attributes of its own, keeps the name that it has.
    with suppress(AttributeError):
        program.sltprob_name = f"{path.name}:{name}"
    found: Callable[..., Any] = program
    return found


@functools.lru_cache(maxsize=16)
def _module(path: Path, _changed: int, _size: int) -> ModuleType:
    """Run a file once until it changes: another function object would be compiled again."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Dataclasses and pickles look their module up by name.
    sys.modules.setdefault(path.stem, module)
    # It may import what lies beside it, as a script may; last, so that it hides no library.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module
