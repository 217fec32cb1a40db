"""A study in Python: read or define it, plan, run, and ask for its status and its table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from sltprob.grids.definition import Definition
from sltprob.grids.events import Event, Watch
from sltprob.grids.pilot import Estimate, estimate_cost
from sltprob.grids.plan import Cell, Plan, make_plan
from sltprob.grids.reading import define, read_definition
from sltprob.grids.run import Workers, run_study
from sltprob.grids.status import Status, status_of
from sltprob.grids.store import Store
from sltprob.grids.table import write_table
from sltprob.notebook import heading, table

__all__ = ["Study"]


def _ignore(event: Event) -> None:
    """Do nothing."""


class Study:
    """A grid of models × samplers × betas × seeds that was checked as a whole.

    Parameters
    ----------
    definition : Definition or mapping
        A mapping has the keys of ``study.toml``.

    Raises
    ------
    StudyError
        If something of it is not right; every problem at once.
    ValueError
        If JAX is set to another precision than the study.
    """

    def __init__(self, definition: Definition | Mapping[str, Any]) -> None:
        made = define(definition) if isinstance(definition, Mapping) else definition
        self._plan: Plan = make_plan(made)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Study:
        """Read a study from a TOML file.

        Parameters
        ----------
        path : path

        Returns
        -------
        Study

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        StudyError
            If something of it is not right; every problem at once, each with its line.
        """
        return cls(read_definition(path))

    def __len__(self) -> int:
        return len(self._plan)

    def _repr_html_(self) -> str:
        """Show the study in a notebook: what will run, not how far it is."""
        rows = [
            (
                block.setting.model,
                block.setting.sampler,
                ", ".join(f"{beta:g}" for beta in block.betas),
                len(block.seeds),
                block.setting.budget.draws,
                block.setting.budget.chains,
            )
            for block in self._plan.blocks
        ]
        heads = ("model", "sampler", "β", "seeds", "draws", "chains")
        title = heading(f"Study of {len(self):,} cells", self._plan.definition.name)
        return f"<div>{title}{table(heads, rows, words=3)}</div>"

    def cells(self) -> Iterator[Cell]:
        """Make the cells one by one.

        Returns
        -------
        iterator of Cell
        """
        return self._plan.cells()

    def pilot(self) -> Estimate:
        """Estimate time and disk from one short cell of each model and sampler.

        Returns
        -------
        Estimate
        """
        return estimate_cost(self._plan)

    def run(
        self,
        folder: str | os.PathLike[str],
        *,
        workers: Workers | None = None,
        retry: bool = False,
        watch: Watch = _ignore,
    ) -> Status:
        """Run every cell that is not stored yet.

        Parameters
        ----------
        folder : path
        workers : Workers, optional
            Such as `sltprob.grids.cluster.DaskWorkers`; by default this process.
        retry : bool
            Run the cells again that failed before.
        watch : callable
            Called with each `Event`.

        Returns
        -------
        Status

        Raises
        ------
        LockedError
            If another run works on the folder.
        StoreError
            If the folder cannot be written.
        """
        return run_study(self._plan, Path(folder), workers=workers, retry=retry, watch=watch)

    def status(self, folder: str | os.PathLike[str]) -> Status:
        """Say how far a study is; every stored file is checked against its hash.

        Parameters
        ----------
        folder : path

        Returns
        -------
        Status
        """
        return status_of(self._plan, Path(folder))

    def table(self, folder: str | os.PathLike[str]) -> pd.DataFrame:
        """Give one row for every stored or failed cell, and write it as ``table.parquet``.

        Parameters
        ----------
        folder : path

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ValueError
            If no cell is stored, or a stored one is damaged.
        StoreError
            If the folder cannot be written.
        """
        return write_table(self._plan, Path(folder))[1].to_pandas()

    def load(self, folder: str | os.PathLike[str], cell: Cell) -> xr.DataTree:
        """Load the draws of a stored cell.

        Parameters
        ----------
        folder : path
        cell : Cell

        Returns
        -------
        xarray.DataTree

        Raises
        ------
        ValueError
            If it is not stored, or damaged.
        """
        store = Store(Path(folder))
        name = store.files().get(cell.key)
        if name is None:
            raise ValueError(f"{folder}: {cell} is not stored here; run the study first")
        return store.load(name)
