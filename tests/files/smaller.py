"""How a file of another program is kept here: half of the digits, compressed."""

from pathlib import Path

import xarray as xr


def write_smaller(tree: xr.DataTree, path: Path) -> None:
    """Write a run with what it has, in single precision."""
    packed = {
        f"/{group}": {
            str(name): {"zlib": True, "complevel": 9, "shuffle": True}
            | ({"dtype": "f4"} if each.dtype == "f8" else {})
            for name, each in tree[group].data_vars.items()
        }
        for group in tree.children
    }
    tree.to_netcdf(path, encoding=packed)
