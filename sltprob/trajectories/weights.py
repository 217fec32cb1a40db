"""Parameters of networks in files: safetensors, npz, or a folder of Orbax. No pickles.

A name with dots is a path: ``layers.0.weight`` is ``params["layers"][0]["weight"]``, where parts
that are the numbers 0, 1, … of a level make a list.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.files import whole
from sltprob.models._row_losses import site_name

__all__ = ["load_weights", "save_weights"]

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_NAMES = {name: code for code, name in _TYPES.items()}


def save_weights(params: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Save parameters as safetensors or npz.

    Parameters
    ----------
    params : pytree of arrays
    path : path
        Ending in .safetensors or .npz.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.
    ValueError
        If the ending or the type of an array is none of those.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or pass overwrite=True")
    arrays = {
        site_name(place): np.asarray(leaf)
        for place, leaf in jax.tree.flatten_with_path(params)[0]
        if hasattr(leaf, "dtype")
    }
    if path.suffix == ".npz":
        with whole(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]
        return path
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: its ending must be .safetensors or .npz")
    header: dict[str, Any] = {}
    place = 0
    for name, array in arrays.items():
        if array.dtype.name not in _NAMES:
            raise ValueError(
                f"params[{name!r}] is {array.dtype}, which safetensors has not; it has "
                f"{', '.join(_NAMES)}"
            )
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of eight bytes
    with whole(path) as temporary, temporary.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            handle.write(np.ascontiguousarray(array).tobytes())
    return path


def load_weights(path: str | os.PathLike[str], like: Any = None) -> Any:
    """Load parameters from safetensors, npz or a folder of Orbax.

    Parameters
    ----------
    path : path
    like : pytree, optional
        Of the structure to give back; by default dicts, and lists where a level is numbered.

    Returns
    -------
    pytree of arrays

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, or does not have what `like` has.

    References
    ----------
    .. [1] Safetensors, the format: https://github.com/huggingface/safetensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; give one that ends in .safetensors or .npz")
    if path.is_dir():
        found = _orbax(path)
        flat = {site_name(place): leaf for place, leaf in jax.tree.flatten_with_path(found)[0]}
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            flat = {name: stored[name] for name in stored.files}
    elif path.suffix == ".safetensors":
        flat = _safetensors(path)
    else:
        raise ValueError(
            f"{path}: its ending must be .safetensors or .npz, or it a folder of Orbax"
        )
    if like is None:
        return _nested(flat)
    leaves, tree = jax.tree.flatten_with_path(like)
    filled = []
    for place, leaf in leaves:
        name = site_name(place)
        if not hasattr(leaf, "dtype"):
            filled.append(leaf)
            continue
        if name not in flat or np.shape(flat[name]) != np.shape(leaf):
            has = f"of shape {np.shape(flat[name])}" if name in flat else "not there"
            raise ValueError(
                f"{path}: {name!r} must have shape {np.shape(leaf)}, and is {has}; the file has "
                f"{', '.join(list(flat)[:12])}"
            )
        filled.append(jnp.asarray(flat[name], leaf.dtype))
    return jax.tree.unflatten(tree, filled)


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    raw = path.read_bytes()
    try:
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        found = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            dtype = jnp.dtype(_TYPES[entry["dtype"]])
            count = math.prod(entry["shape"])
            part = raw[8 + size + first : 8 + size + last]
            found[name] = np.frombuffer(part, dtype, count).reshape(entry["shape"])
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from None
    return found


def _orbax(path: Path) -> Any:
    try:
        import orbax.checkpoint as orbax
    except ImportError:
        raise ValueError(
            f"{path}: reading it needs orbax-checkpoint; pip install 'sltprob[orbax]'"
        ) from None
    with orbax.PyTreeCheckpointer() as reader:
        return reader.restore(path.absolute())


def _nested(flat: dict[str, Any]) -> Any:
    """Make dicts of names with dots, and lists of numbered levels."""
    if (
        set(flat) == {"params"}
        and np.ndim(flat["params"]) >= 0
        and not isinstance(flat["params"], dict)
    ):
        return jnp.asarray(flat["params"])
    root: dict[str, Any] = {}
    for name, value in flat.items():
        level = root
        *parts, last = name.split(".")
        for part in parts:
            level = level.setdefault(part, {})
        level[last] = jnp.asarray(value)
    return _lists(root)


def _lists(level: Any) -> Any:
    if not isinstance(level, dict):
        return level
    inner = {name: _lists(value) for name, value in level.items()}
    numbers = [str(index) for index in range(len(inner))]
    return [inner[number] for number in numbers] if set(inner) == set(numbers) else inner
