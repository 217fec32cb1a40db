"""Parameters of networks in files: safetensors, npz, or a folder of Orbax. No pickles.

A name with dots is a path: ``layers.0.weight`` is ``params["layers"][0]["weight"]``, where parts
that are the numbers 0, 1, … of a level make a list.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
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
_KINDS_OF_NPZ = "biufc"


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
    arrays: dict[str, np.ndarray] = {}
    for place, leaf in jax.tree.flatten_with_path(params)[0]:
        if not hasattr(leaf, "dtype"):
            continue
        if (name := site_name(place)) in arrays:
            raise ValueError(f"params has two leaves of the name {name!r}; rename one")
        arrays[name] = _storable(name, leaf)
    if path.suffix == ".npz":
        for name, array in arrays.items():
            if array.dtype.kind not in _KINDS_OF_NPZ:
                raise ValueError(
                    f"params[{name!r}] is {array.dtype}, which npz cannot give back; write a file "
                    "that ends in .safetensors, which has bfloat16, or make it float32"
                )
        with whole(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]
        return path
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: its ending must be .safetensors or .npz")
    header: dict[str, Any] = {}
    position = 0
    for name, array in arrays.items():
        if array.dtype.name not in _NAMES:
            raise ValueError(
                f"params[{name!r}] is {array.dtype}, which safetensors has not; it has "
                f"{', '.join(_NAMES)}"
            )
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
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
        Of JAX; of NumPy where JAX, without its double precision, would change a whole number or
        make a number infinite.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, does not have what `like` has, or has numbers that its types
        cannot hold.

    References
    ----------
    .. [1] Safetensors, the format: https://github.com/huggingface/safetensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; give one that ends in .safetensors or .npz")
    if path.is_dir():
        found = _orbax(path)
        flat = {
            site_name(place): leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
            for place, leaf in jax.tree.flatten_with_path(found)[0]
        }
    elif path.suffix == ".npz":
        flat = _npz(path)
    elif path.suffix == ".safetensors":
        flat = _safetensors(path)
    else:
        raise ValueError(
            f"{path}: its ending must be .safetensors or .npz, or it a folder of Orbax"
        )
    if like is None:
        return _nested(flat, path)
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
        # JAX's own type for it: NumPy's float64 is not there without double precision.
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
        if (cast := _exactly(flat[name], dtype)) is None:
            raise ValueError(
                f"{path}: {name!r} has numbers of {flat[name].dtype} that {dtype} of like= cannot "
                "hold; leave like= out, or give it another type"
            )
        filled.append(cast)
    return jax.tree.unflatten(tree, filled)


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    raw = path.read_bytes()
    damaged = f"{path}: not a safetensors file, or a damaged one"
    try:
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        if not isinstance(header, dict):
            raise ValueError(f"its header is a {type(header).__name__}")
        found = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            dtype = jnp.dtype(_TYPES[entry["dtype"]])
            bytes_of_shape = math.prod(entry["shape"]) * dtype.itemsize
            if not 0 <= first <= last <= len(raw) - 8 - size or last - first != bytes_of_shape:
                raise ValueError(
                    f"{name!r} of shape {entry['shape']} takes {bytes_of_shape} bytes, and its "
                    f"place is {first} to {last} of {len(raw) - 8 - size}"
                )
            part = raw[8 + size + first : 8 + size + last]
            found[name] = np.frombuffer(part, dtype).reshape(entry["shape"])
    except KeyError as error:
        raise ValueError(
            f"{damaged} (there is no {error}; types that are read are {', '.join(_TYPES)})"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{damaged} ({error})") from None
    return found


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        if not zipfile.is_zipfile(path):  # NumPy would take it for a pickle, and recommend that
            raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (AttributeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        first = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: not an npz file of arrays, or a damaged one ({first})") from None
    for name, array in found.items():
        if array.dtype.kind not in _KINDS_OF_NPZ:
            raise ValueError(
                f"{path}: {name!r} is {array.dtype}, which is no number of NumPy's; bfloat16 "
                "is kept by .safetensors"
            )
    return {name: _native(array) for name, array in found.items()}


def _storable(name: str, leaf: Any) -> np.ndarray:
    """Give a leaf as NumPy has it, in the order of bytes that files have."""
    try:
        return _native(np.asarray(leaf))
    except TypeError:
        raise ValueError(
            f"params[{name!r}] is {leaf.dtype}, which files have not; write "
            "jax.random.key_data of a key, or leave it out"
        ) from None


def _native(array: np.ndarray) -> np.ndarray:
    """Turn the bytes of an array that another machine has written."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _exactly(array: Any, dtype: Any) -> Any:
    """Give JAX's array of a type, or None where a whole number changes or a number overflows."""
    with np.errstate(invalid="ignore", over="ignore"):  # what is lost is looked for below
        held = jnp.asarray(array, dtype)
    if held.dtype == array.dtype:
        return held
    before, after = np.asarray(array), np.asarray(held)
    if not jnp.issubdtype(held.dtype, jnp.inexact):
        return held if np.array_equal(before, after) else None
    overflow = np.isfinite(before) & ~np.isfinite(after)
    return None if overflow.any() else held


def _orbax(path: Path) -> Any:
    try:
        import orbax.checkpoint as orbax
    except ImportError:
        raise ValueError(
            f"{path}: reading it needs orbax-checkpoint; pip install 'sltprob[orbax]'"
        ) from None
    with orbax.PyTreeCheckpointer() as reader:
        try:
            return reader.restore(path.absolute())
        except Exception as error:  # Orbax and TensorStore raise anything of what is not theirs
            first = " ".join(str(error).split())[:160]
            raise ValueError(
                f"{path}: not a checkpoint of Orbax, or a damaged one ({first})"
            ) from None


def _nested(flat: dict[str, Any], path: Path) -> Any:
    """Make dicts of names with dots, and lists of numbered levels."""
    if (
        set(flat) == {"params"}
        and np.ndim(flat["params"]) >= 0
        and not isinstance(flat["params"], dict)
    ):
        return _held(flat["params"])
    root: dict[str, Any] = {}
    for name, value in flat.items():
        level = root
        *parts, last = name.split(".")
        for part in parts:
            level = level.setdefault(part, {})
            if not isinstance(level, dict):
                break
        if not isinstance(level, dict) or last in level:
            other = next(
                one
                for one in flat
                if f"{name}.".startswith(f"{one}.") != f"{one}.".startswith(f"{name}.")
            )
            raise ValueError(
                f"{path}: {other!r} and {name!r} are both there, and no pytree has both; give like="
            )
        level[last] = _held(value)
    return _lists(root)


def _held(array: Any) -> Any:
    """Give JAX's array, or NumPy's where JAX has not its numbers."""
    held = _exactly(array, jax.dtypes.canonicalize_dtype(array.dtype))
    return array if held is None else held


def _lists(level: Any) -> Any:
    if not isinstance(level, dict):
        return level
    inner = {name: _lists(value) for name, value in level.items()}
    numbers = [str(index) for index in range(len(inner))]
    return [inner[number] for number in numbers] if set(inner) == set(numbers) else inner
