"""A run as one small file: the arrays of its DataTree as ``.npz``, and what they mean as JSON.

netCDF is for people and other programs; writing it takes a hundred milliseconds, whatever the
size. A study of ten thousand small runs keeps them in this form: a zip file of NumPy arrays
called ``group/variable.npy``, readable with `numpy.load`, and one member ``tree.json`` with the
dimensions and the attributes. `sltprob.load` reads both.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["fingerprint", "is_packed", "pack", "unpack"]

_MEMBER = "tree.json"
_FORMAT = 1
# What two runs of the same cell do not have in common.
_NOT_CONTENT = ("created", "platform", "devices", "created_at")
_TIMES = "seconds_"


def is_packed(data: bytes) -> bool:
    """Tell this form from netCDF by the first bytes of a file."""
    return data.startswith(b"PK\x03\x04")


def pack(tree: xr.DataTree) -> bytes:
    """Write a run as bytes."""
    groups: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, node in tree.children.items():
        variables = {key: list(map(str, value.dims)) for key, value in node.variables.items()}
        groups[name] = {
            "variables": variables,
            "coordinates": list(map(str, node.coords)),
            "attributes": _plain(node.attrs),
        }
        for key, value in node.variables.items():
            # A text array keeps its characters; an object array would need pickle.
            values = value.values
            arrays[f"{name}/{key}"] = values.astype(str) if values.dtype.kind == "O" else values
    text = {"format": _FORMAT, "attributes": _plain(tree.attrs), "groups": groups}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(buffer, "a") as archive:
        # A fixed date, so that equal runs are equal bytes.
        archive.writestr(zipfile.ZipInfo(_MEMBER), json.dumps(text, ensure_ascii=False))
    return buffer.getvalue()


def unpack(data: bytes) -> xr.DataTree:
    """Read a run that `pack` wrote."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > 2**28 + 100 * len(data):
                raise ValueError("it claims far more bytes than it has")
            text = json.loads(archive.read(_MEMBER))
        nodes = {"/": xr.Dataset(attrs=text["attributes"])}
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            for name, group in text["groups"].items():
                variables = {
                    key: (dims, arrays[f"{name}/{key}"]) for key, dims in group["variables"].items()
                }
                coordinates = {key: variables.pop(key) for key in group["coordinates"]}
                nodes[f"/{name}"] = xr.Dataset(variables, coordinates, group["attributes"])
    except (zipfile.BadZipFile, KeyError, TypeError, OSError, EOFError, ValueError) as error:
        raise ValueError(f"not a packed run, or a damaged one ({error})") from error
    return xr.DataTree.from_dict(nodes)


def fingerprint(tree: xr.DataTree) -> str:
    """Hash what a run says, leaving out when, where and how fast it was made.

    Two runs of one cell have the same fingerprint if and only if they agree bit for bit.
    """
    digest = hashlib.sha256(_content(tree.attrs))
    for name in sorted(tree.children):
        node = tree.children[name]
        digest.update(name.encode() + _content(node.attrs))
        for key in sorted(map(str, node.variables)):
            values = node.variables[key].values
            values = values.astype(str) if values.dtype.kind == "O" else values
            digest.update(f"{key} {values.dtype.str} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _content(attributes: Mapping[Any, Any]) -> bytes:
    kept = {
        key: value
        for key, value in _plain(attributes).items()
        if key not in _NOT_CONTENT and not key.startswith(_TIMES)
    }
    return json.dumps(kept, sort_keys=True).encode()


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Write attributes as JSON has them."""
    return {
        str(key): value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in attributes.items()
    }
