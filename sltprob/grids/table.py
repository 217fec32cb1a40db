"""One tidy table over all cells of a study, as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from sltprob.cell import CELL_FIELDS
from sltprob.grids.plan import Plan
from sltprob.grids.store import Store
from sltprob.grids.work import coordinates, row_of

__all__ = ["TABLE_FIELDS", "write_table"]

#: The columns, in order: those of a cell, and where it came from. They are an interface.
TABLE_FIELDS = (*CELL_FIELDS, "key", "error", "content", "file")

_TEXT = ("model", "sampler", "exact_method", "verdict", "key", "error", "content", "file")
_WHOLE = ("seed", "draws", "chains")


def _type_of(name: str) -> pa.DataType:
    if name == "failed_checks":
        return pa.list_(pa.string())
    if name in _TEXT:
        return pa.string()
    return pa.int64() if name in _WHOLE else pa.float64()


_SCHEMA = pa.schema([(name, _type_of(name)) for name in TABLE_FIELDS])


def write_table(plan: Plan, folder: Path) -> tuple[Path, pa.Table]:
    """Write the table of all stored and failed cells of a plan."""
    store = Store(folder)
    files, failures, kept = store.files(), store.failures(), store.summaries.read()
    rows: list[dict[str, Any]] = []
    for cell in plan.cells():
        name = files.get(key := cell.key)
        if name is not None:
            if not store.is_good(name):
                raise ValueError(
                    f"{store.cells / name} is damaged; 'sltprob study run' moves it aside and "
                    "runs the cell again"
                )
            rows.append(kept[name] if name in kept else row_of(cell, store.load(name), name))
        elif key in failures:
            error = str(failures[key]["error"])
            rows.append({**coordinates(cell), "key": key, "error": error})
    if not rows:
        raise ValueError(f"{folder}: no cell of this study is stored here; run it first")
    columns = {name: [row.get(name) for row in rows] for name in TABLE_FIELDS}
    table = pa.table(columns, schema=_SCHEMA)
    store.prepare()
    # A checksum for each page, so that a damaged table is found when it is read.
    store.writer.write_with(
        store.table, lambda path: parquet.write_table(table, path, write_page_checksum=True)
    )
    return store.table, table
