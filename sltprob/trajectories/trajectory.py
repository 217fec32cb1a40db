"""Local λ̂ over the checkpoints of a training: one compilation, resumable, with its picture."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sltprob.localising import local
from sltprob.notebook import table as html_table
from sltprob.report.figures import DASHES, SERIES, Figure, axis, band, line
from sltprob.report.sheet import SheetTable, write_sheet
from sltprob.sampling.run import sample
from sltprob.streams import as_stream
from sltprob.trajectories.checkpoints import named_checkpoints, steps_of
from sltprob.trajectories.row import Row, rho_of, row_of, status_of, table
from sltprob.trajectories.stored import StoredRuns
from sltprob.trajectories.weights import load_weights

__all__ = ["Trajectory", "trajectory"]


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
        """The number that differs between the names, or the place of each where none does."""
        return steps_of(self.names)

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
        parameters by name. Files are taken in the order of the numbers in their names; those of
        the same name in several folders are called by their folders too.
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
        Where runs are kept. One that is there already is not made again if it measured the same:
        the loss, the data (of a stream its first rows and all losses at the center, of an iterator
        its first batch), the weights, what moves, the parameters and the settings. Nothing there
        is overwritten.
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
        If there are no checkpoints, two have the same name, or one cannot be read or measured.
    TypeError
        If `checkpoints` or what is in `beside` is something else.

    References
    ----------
    .. [1] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    """
    found = named_checkpoints(checkpoints)
    masks = dict(masks or {"all": None})
    stored = None if folder is None else StoredRuns(Path(folder))
    if hasattr(data, "__next__"):
        # All checkpoints share an iterator, and with it the first batch, by which it is known.
        data = as_stream(data)
    rows: dict[str, list[Row]] = {part: [] for part in masks}
    shown: dict[str, list[float]] = {key: [] for key in beside or {}}
    for name, source in found:
        with _named_in_errors(name):
            params = load_weights(source, like) if isinstance(source, Path) else source
        for key, function in (beside or {}).items():
            value = function(params)
            with _named_in_errors(name):
                shown[key].append(_number(key, value))
        for part, mask in masks.items():
            with _named_in_errors(name):
                posterior = local(
                    loss_rows, params, data, nbeta=nbeta, gamma=gamma, mask=mask, weights=weights
                )
            if stored is None:
                run = sample(posterior, sampler, **options)
            else:
                run = stored.get_or_make(
                    f"{name}-{part}",
                    posterior,
                    {"sampler": sampler, **options},
                    lambda at: sample(at, sampler, **options),
                )
            rows[part].append(row_of(name, run, gamma))
            if progress is not None:
                progress(rows[part][-1])
    return Trajectory(
        tuple(name for name, _ in found),
        {part: tuple(each) for part, each in rows.items()},
        {key: tuple(values) for key, values in shown.items()},
    )


@contextmanager
def _named_in_errors(name: str) -> Iterator[None]:
    """Say which of the checkpoints it was that could not be measured."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        # What a loss has raised itself stays to be seen.
        raise kind(f"checkpoint {name!r}: {error}") from error.__cause__


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        shape = f" of shape {value.shape}" if hasattr(value, "shape") else ""
        raise TypeError(
            f"beside[{key!r}] gives a {type(value).__name__}{shape}; it must give one number"
        ) from None


def _n(value: float) -> Any:
    """Leave a gap where there is no number."""
    return value if math.isfinite(value) else None
