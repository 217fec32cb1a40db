"""A NumPyro program of the user's own, from a file, and its data."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sltprob.data import Data

__all__ = ["load_data", "load_program"]


def load_program(text: str) -> Callable[..., Any]:
    """Load a function from a file."""
    path_text, colon, name = text.rpartition(":")
    path = Path(path_text)
    if not colon or path.suffix != ".py":
        raise ValueError(f"{text!r} is not a program; write path/to/file.py:function")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; write path/to/file.py:function")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Dataclasses and pickles look their module up by name.
    sys.modules.setdefault(path.stem, module)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    program = getattr(module, name, None)
    if not callable(program):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise ValueError(f"{path} has no function {name!r}; it has {', '.join(functions)}")
    return program


def load_data(path: Path) -> Data:
    """Load the arguments of a program from an .npz file; ``weights`` are the data's weights."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; write --data data.npz")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"{path} is not an .npz file of plain arrays ({error})") from error
    weights = arrays.pop("weights", None)
    arguments = {name: value.item() if value.ndim == 0 else value for name, value in arrays.items()}
    return Data(arguments, weights)
