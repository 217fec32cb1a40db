"""Local λ̂ over the checkpoints of a training: one compilation, resumable, with its picture."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob.localising import local
from sltprob.notebook import table as html_table
from sltprob.report.figures import DASHES, SERIES, Figure, axis, band, line
from sltprob.report.sheet import SheetTable, write_sheet
from sltprob.sampling.run import sample
from sltprob.trajectories.row import Row, rho_of, row_of, status_of, table
from sltprob.trajectories.weights import load_weights

__all__ = ["Trajectory", "trajectory"]

_KEY = "trajectory_key"


@dataclass(frozen=True)
class Trajectory:
    """Local λ̂ over checkpoints.

    Parameters
    ----------
    names : tuple of str
    rows : mapping of str to tuple of Row
        By the name of what moves: ``"all"``, or the masks that were given.
    beside : mapping of str to tuple of float
        What else is shown over the checkpoints, such as a test loss.
    """

    names: tuple[str, ...]
    rows: Mapping[str, tuple[Row, ...]]
    beside: Mapping[str, tuple[float, ...]]

    @property
    def steps(self) -> tuple[float, ...]:
        """The last number in each name, or its place where a name has none."""
        numbers = [re.findall(r"\d+(?:\.\d+)?", name) for name in self.names]
        if all(numbers):
            return tuple(float(found[-1]) for found in numbers)
        return tuple(float(index) for index in range(len(self.names)))

    def __str__(self) -> str:
        return table(self._headings, self._lines())

    def _repr_html_(self) -> str:
        """Show the trajectory in a notebook."""
        return html_table(self._headings, self._lines())

    @property
    def _headings(self) -> list[str]:
        return ["checkpoint", "loss", *self.beside, *(f"λ̂ {part}" for part in self.rows)]

    def _lines(self) -> list[list[str]]:
        parts = list(self.rows)
        lines = []
        for index, name in enumerate(self.names):
            first = self.rows[parts[0]][index]
            line_ = [name, f"{first.loss:.4g}"]
            line_ += [f"{values[index]:.4g}" for values in self.beside.values()]
            for part in parts:
                row = self.rows[part][index]
                line_.append(f"{row.lambda_hat:.4g} [{row.low:.4g}, {row.high:.4g}] {row.verdict}")
            lines.append(line_)
        return lines

    def write(self, path: str | os.PathLike[str], *, title: str = "Local λ̂ over training") -> Path:
        """Write the page: λ̂ over the checkpoints, the training loss beside it.

        Parameters
        ----------
        path : path
        title : str

        Returns
        -------
        pathlib.Path

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        parts = list(self.rows)
        found = [
            [name, part, f"{r.loss:.4g}", f"{r.lambda_hat:.4g}", f"{r.low:.4g} to {r.high:.4g}",
             rho_of(r), status_of(r)]
            for part in parts
            for name, r in zip(self.names, self.rows[part], strict=True)
        ]  # fmt: skip
        trusted = sum(r.verdict == "trusted" for rows in self.rows.values() for r in rows)
        count = sum(map(len, self.rows.values()))
        return write_sheet(
            path,
            title=title,
            sentences=[f"{trusted} of {count} measurements are trusted."],
            figures=self.figures(),
            tables=[
                SheetTable(
                    "All measurements",
                    ["checkpoint", "moves", "loss", "λ̂", "interval", "ρ", "verdict"],
                    found,
                    words=(0, 1, 6),
                )
            ],
            sources=["E. Lau et al., The local learning coefficient, arXiv 2308.12108"],
        )

    def figures(self) -> list[Figure]:
        """Draw λ̂ over the checkpoints, the training loss, and what else is shown."""
        parts = list(self.rows)
        figures = []
        lines = []
        for index, part in enumerate(parts):
            rows = self.rows[part]
            style: dict[str, Any] = {"color": SERIES[index % 6], "dash": DASHES[index % 6]}
            lines.append(band(self.steps, [_n(r.low) for r in rows], [_n(r.high) for r in rows]))
            lines.append(line(self.steps, [_n(row.lambda_hat) for row in rows], name=part, **style))
        figures.append(self._figure("lambda", "λ̂ over training", "λ̂", lines))
        losses = [row.loss for row in self.rows[parts[0]]]
        drawn = [line(self.steps, losses, name="training loss", color=SERIES[0])]
        figures.append(self._figure("loss", "Training loss", "loss", drawn, type="log"))
        for key, values in self.beside.items():
            drawn = [line(self.steps, list(values), name=key, color=SERIES[1])]
            figures.append(self._figure(f"beside-{len(figures)}", key, key, drawn))
        return figures

    def _figure(
        self, key: str, heading: str, label: str, drawn: list[Any], **options: Any
    ) -> Figure:
        layout = {"height": 340, "xaxis": axis("checkpoint"), "yaxis": axis(label, **options)}
        return Figure(key, heading, "", heading, {"data": drawn, "layout": layout}, wide=True)


def trajectory(
    checkpoints: str | Sequence[Any] | Mapping[Any, Any],
    loss_rows: Callable[[Any, Any], Any],
    data: Any,
    *,
    sampler: str = "sgld",
    nbeta: float | str = "wbic",
    gamma: float = 1.0,
    masks: Mapping[str, Any] | None = None,
    weights: Any = None,
    like: Any = None,
    beside: Mapping[str, Callable[[Any], float]] | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[Row], None] | None = None,
    **options: Any,
) -> Trajectory:
    """Measure local λ̂ at every checkpoint of a training; everything compiles once for each mask.

    Parameters
    ----------
    checkpoints : str, sequence of path, or mapping of name to pytree
        A pattern such as ``"ckpts/*.safetensors"``, paths of .safetensors, .npz or Orbax, or
        parameters by name. Files are taken in the order of the numbers in their names.
    loss_rows, data, nbeta, gamma, weights
        Of `sltprob.local`.
    sampler : str
    masks : mapping of str to mask, optional
        What moves, by name; each is measured. By default everything.
    like : pytree, optional
        Of the structure of the parameters, for `checkpoints` in files.
    beside : mapping of str to callable, optional
        ``params -> number``: what else to show, such as a test loss.
    folder : path, optional
        Where runs are kept; those that are there already are not made again.
    progress : callable, optional
        Called with each `Row` when it is there.
    **options
        Of `sltprob.sample`.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError
        If there are no checkpoints, or one cannot be read.

    References
    ----------
    .. [1] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    """
    found = _checkpoints(checkpoints)
    masks = dict(masks or {"all": None})
    kept = None if folder is None else Path(folder)
    rows: dict[str, list[Row]] = {part: [] for part in masks}
    shown: dict[str, list[float]] = {key: [] for key in beside or {}}
    for name, source in found:
        params = load_weights(source, like) if isinstance(source, Path) else source
        for key, function in (beside or {}).items():
            shown[key].append(float(function(params)))
        for part, mask in masks.items():
            settings = {"sampler": sampler, "nbeta": nbeta, "gamma": gamma, "mask": part, **options}
            path = None if kept is None else kept / f"{_plain(name)}-{_plain(part)}.nc"
            key = _key(params, settings)
            run = None if path is None else _stored(path, key)
            if run is None:
                posterior = local(
                    loss_rows, params, data, nbeta=nbeta, gamma=gamma, mask=mask, weights=weights
                )
                run = sample(posterior, sampler, **options)
                run.attrs[_KEY] = key
                if path is not None:
                    schema.save(run, path, overwrite=True)
            rows[part].append(row_of(name, run, gamma))
            if progress is not None:
                progress(rows[part][-1])
    return Trajectory(
        tuple(name for name, _ in found),
        {part: tuple(each) for part, each in rows.items()},
        {key: tuple(values) for key, values in shown.items()},
    )


def _checkpoints(given: Any) -> list[tuple[str, Any]]:
    if isinstance(given, Mapping):
        found = [(str(name), params) for name, params in given.items()]
    else:
        if isinstance(given, str | os.PathLike):
            paths = [Path(text) for text in glob.glob(str(given))]
        else:
            paths = [Path(path) for path in given]
        found = [(path.stem, path) for path in sorted(paths, key=_in_order)]
    if not found:
        raise ValueError(
            f"checkpoints={given!r}: there are none; give a pattern such as 'ckpts/*.safetensors'"
        )
    return found


def _in_order(path: Path) -> list[Any]:
    """Sort step-9 before step-10."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", path.name)
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _key(params: Any, settings: Mapping[str, Any]) -> str:
    """Hash parameters and settings, so that only the same run is taken for done."""
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True, default=str).encode())
    for leaf in jax.tree.leaves(params):
        if hasattr(leaf, "dtype"):
            digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _stored(path: Path, key: str) -> xr.DataTree | None:
    if not path.exists():
        return None
    try:
        run = schema.load(path)
    except ValueError:
        return None
    return run if run.attrs.get(_KEY) == key else None


def _n(value: float) -> Any:
    """Leave a gap where there is no number."""
    return value if math.isfinite(value) else None
