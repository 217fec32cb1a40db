"""Read the data of a user's program from a file: npz, CSV, Parquet, Arrow, netCDF or Zarr."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sltprob.arguments import as_array
from sltprob.data import Data

__all__ = ["columns_of", "named_data", "read_data"]

# Shares that were rounded to a few digits still sum to one.
_SHARES = 0.01


def read_data(path: Path) -> dict[str, Any]:
    """Read arrays by name, by the ending of the file; columns of a table are arrays."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"data={path}: its ending must be one of {', '.join(_READERS)}; for anything else, "
            "pass arrays in Python"
        )
    if not path.exists():
        raise ValueError(f"data={path}: no such file")
    try:
        found = reader(path)
    except ImportError as error:
        raise ValueError(f"data={path}: reading it needs {error.name}; pip install it") from None
    except Exception as error:  # every library has errors of its own for a damaged file
        first = " ".join(str(error).split())[:200]
        raise ValueError(f"data={path}: it cannot be read ({first})") from None
    if not found:
        raise ValueError(f"data={path}: it has no columns; its first line must name them")
    return found


def named_data(
    columns: Mapping[str, Any], program: Callable[..., Any], source: str = "data"
) -> Data:
    """Give a program the columns that its arguments name; ``weights`` are the data's weights."""
    columns = dict(columns)
    parameters = inspect.signature(program).parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = {p.name for p in wanted}
    weights = None if "weights" in names else columns.pop("weights", None)
    missing = [p.name for p in wanted if p.default is p.empty and p.name not in columns]
    # An observed value usually has the default None: a program that runs without it is no excuse.
    if missing or (not takes_all and not names & set(columns)):
        lacking = ", ".join(missing) or ", ".join(sorted(names))
        raise ValueError(
            f"{source} has {_listed(columns)}, and the program "
            f"{getattr(program, '__name__', 'given')} needs {lacking}; name the columns like its "
            "arguments"
        )
    kept = columns if takes_all else {n: v for n, v in columns.items() if n in names}
    if weights is not None and abs(np.sum(as_array(weights, "weights")) - 1) > _SHARES:
        raise ValueError(
            f"{source}: weights sum to {np.sum(weights):g}; they are shares of the mean loss and "
            "sum to one: divide them by their sum, or repeat rows that count more than once, as "
            "in np.repeat(y, weights)"
        )
    return Data(kept, weights)


def columns_of(frame: Any) -> dict[str, Any]:
    """Give the columns of a data frame of pandas or polars as arrays."""
    _refuse_twice([str(name) for name in frame.columns])
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the data have two columns of the name {twice[0]!r}; rename one")


def _listed(columns: Mapping[str, Any]) -> str:
    shown = list(columns)[:12]
    return ", ".join(map(repr, shown)) + (" …" if len(columns) > len(shown) else "")


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return {name: value.item() if value.ndim == 0 else value for name, value in arrays.items()}


def _csv(path: Path) -> dict[str, Any]:
    import pandas as pd

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    # A column without a name is the index that pandas and R write.
    frame = pd.read_csv(path, sep=separator, skipinitialspace=True)
    # pandas would call the second one "x.1".
    header = pd.read_csv(path, sep=separator, skipinitialspace=True, header=None, nrows=1)
    _refuse_twice([str(name) for name in header.iloc[0].dropna()])
    return columns_of(frame.loc[:, ~frame.columns.str.startswith("Unnamed: ")])


def _parquet(path: Path) -> dict[str, Any]:
    import pandas as pd

    return columns_of(pd.read_parquet(path))


def _arrow(path: Path) -> dict[str, Any]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            table = pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:  # the streaming form, which has no footer
            source.seek(0)
            table = pa.ipc.open_stream(source).read_all()
        return columns_of(table.to_pandas())


def _xarray(path: Path) -> dict[str, Any]:
    import xarray as xr

    if path.suffix.lower() == ".zarr":
        with xr.open_zarr(path, consolidated=None) as dataset:
            loaded = dataset.load()
    else:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            loaded = dataset.load()
    return {
        str(name): variable.values.item() if variable.ndim == 0 else variable.values
        for name, variable in loaded.variables.items()
    }


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npz": _npz,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".nc": _xarray,
    ".zarr": _xarray,
}
