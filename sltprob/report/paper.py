"""Figures and tables for papers: SVG and PDF by Matplotlib, Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sltprob.exact import Exact
from sltprob.files import whole, write_text
from sltprob.report.curve import by_model, exact_points, limits, x_range
from sltprob.report.downsample import extremes
from sltprob.report.judged import Judged, judge
from sltprob.report.numbers import number
from sltprob.report.tables import csv_text, latex_table, markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_figures"]

# Okabe and Ito's colours; the markers tell the samplers apart without them.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "D", "^", "v", "p", "h")
# Type 42 fonts are what journals take; a fixed salt and no date give the same file each time.
_STYLE: Any = {
    "font.size": 9.0,
    "pdf.fonttype": 42,
    "svg.hashsalt": "sltprob",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_MOST_POINTS = 2000
_MOST_STRIPS = 6


def write_figures(
    runs: Sequence[xr.DataTree],
    folder: str | os.PathLike[str],
    *,
    curve: Mapping[str, Sequence[Exact]] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write figures and tables of runs for a paper, each file whole or not at all.

    Parameters
    ----------
    runs : sequence of xarray.DataTree
    folder : path
        Made if it is missing. It gets ``curve.svg`` and ``curve.pdf`` (``curve-2`` and so on for
        further models), ``loss-NUMBER-...`` for each run with the number that it has in the
        report, ``table.md``, ``table.tex`` and ``table.csv``.
    curve : mapping of str to sequence of Exact, optional
        Exact values by model, for the line; by default those that the runs hold.
    overwrite : bool
        Replace existing files.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    ValueError
        If there are no runs, a run does not follow the schema, or Matplotlib is not installed.
    TypeError
        If a run is no DataTree.
    FileExistsError
        If a file exists and `overwrite` is false.
    OSError
        If the folder cannot be written.
    """
    if not runs:
        raise ValueError("runs is empty: figures need at least one run, such as [sample(...)]")
    try:
        import matplotlib
        from matplotlib.backends import backend_pdf, backend_svg  # noqa: F401
    except ImportError:
        raise ValueError(
            "figures need Matplotlib, which is not installed; pip install 'sltprob[figures]'"
        ) from None
    folder = Path(folder)
    judged = judge(runs, curve)
    cells = [run.cell for run in judged]
    texts = {
        "table.md": markdown_table(cells),
        "table.tex": latex_table(cells),
        "table.csv": csv_text(cells),
    }
    groups = list(by_model(judged).items())
    suffix = [""] + [f"-{index}" for index in range(2, len(groups) + 1)]
    stems = [f"curve{end}" for end in suffix] + [_stem(run) for run in judged]
    names = [f"{stem}.{form}" for stem in stems for form in ("svg", "pdf")]
    there = next((name for name in (*texts, *names) if (folder / name).exists()), None)
    if there is not None and not overwrite:
        raise FileExistsError(
            f"{folder / there} exists; choose another folder, or overwrite (overwrite=True, "
            "--overwrite)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        drawn = [_curve(own, (curve or {}).get(model, ())) for model, own in groups]
        written = _save(drawn, stems[: len(groups)], folder)
        for run, stem in zip(judged, stems[len(groups) :], strict=True):
            written += _save([_trace(run)], [stem], folder)
    for name, text in texts.items():
        written.append(write_text(text, folder / name))
    return written


def _stem(run: Judged) -> str:
    name = f"{run.name}-beta{run.cell['beta']:g}"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.=") else "-" for c in name)
    return f"loss-{run.number}-{safe[:60].strip('-')}"


def _save(figures: Sequence[Figure], stems: Sequence[str], folder: Path) -> list[Path]:
    written = []
    for figure, stem in zip(figures, stems, strict=True):
        for form, metadata in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            path = folder / f"{stem}.{form}"
            with whole(path) as temporary:
                figure.savefig(temporary, format=form, metadata=metadata, bbox_inches="tight")
            written.append(path)
    return written


def _plain(text: object) -> str:
    """Keep Matplotlib from reading a name as a formula."""
    return str(text).replace("\\", "\\\\").replace("$", r"\$")


def _curve(judged: Sequence[Judged], exact: Sequence[Exact]) -> Figure:
    """Draw λ̂ against β: filled markers can be believed, hollow ones cannot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.add_subplot(xscale="log")
    axes.set_xlabel(r"inverse temperature $\beta$")
    axes.set_ylabel(r"$\hat\lambda(\beta)$")
    line = exact_points(judged, exact)
    if line:
        axes.plot(
            [point.beta for point in line],
            [point.lambda_hat for point in line],
            color="black",
            linewidth=1.1,
            marker="_" if len(line) < 12 else "",
            label="exact",
            zorder=1,
        )
    shown = [run for run in judged if run.cell["lambda_hat"] is not None and run.cell["beta"] > 0]
    if shown or line:
        low, high = limits(shown, [point.lambda_hat for point in line])
        axes.set_ylim(low, high)
        betas = [run.cell["beta"] for run in shown] + [point.beta for point in line]
        axes.set_xlim(*(10**end for end in x_range(sorted(betas))))
    samplers = sorted({run.cell["sampler"] for run in shown})
    handles = list(axes.get_legend_handles_labels()[0])
    beyond: dict[tuple[float, bool], int] = {}
    for index, sampler in enumerate(samplers):
        color = _COLOURS[index % len(_COLOURS)]
        marker = _MARKERS[index % len(_MARKERS)]
        # Moved sideways a little, so that samplers do not hide each other.
        moved = 10 ** (0.05 * (index - (len(samplers) - 1) / 2))
        for run in shown:
            if run.cell["sampler"] != sampler:
                continue
            x, y = run.cell["beta"] * moved, run.cell["lambda_hat"]
            face = color if run.believable else "white"
            if not low <= y <= high:
                edge = run.cell["beta"], y > high
                beyond[edge] = beyond.get(edge, 0) + 1
                _beyond(axes, x, y, above=y > high, color=color, place=beyond[edge])
                continue
            axes.errorbar(
                x,
                y,
                yerr=run.cell["mcse"] or 0.0,
                color=color,
                marker=marker,
                markersize=5.5,
                markerfacecolor=face,
                linestyle="none",
                capsize=2.5,
                linewidth=1.1,
            )
        handles.append(_handle(color, marker, color, _plain(sampler)))
    if any(not run.believable for run in shown):
        handles.append(_handle("0.4", "o", "white", "hollow: do not believe"))
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
    return figure


def _handle(color: str, marker: str, face: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=color, marker=marker, markerfacecolor=face, linestyle="none", label=label
    )


def _beyond(axes: Any, x: float, y: float, *, above: bool, color: str, place: int) -> None:
    """Name a value beyond the frame at its edge, outside, the values of one β in a pile."""
    axes.annotate(
        f"{number(y)} {'↑' if above else '↓'}",
        (x, 1.0 if above else 0.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 9 * place - 7 if above else 9 * place - 6),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=color,
        fontsize=8,
    )


def _trace(judged: Judged) -> Figure:
    """Draw the loss of each chain in a strip of its own."""
    from matplotlib.figure import Figure

    loss = judged.run.loss
    rows = list(loss[:_MOST_STRIPS]) if loss.size else []
    figure = Figure(figsize=(5.6, 0.6 + 0.75 * max(1, len(rows))), layout="constrained")
    quantity = r"$\beta(L-L^*)$" if judged.run.knows_minimum else r"$\beta L$"
    state = judged.status if judged.believable else f"{judged.status}: do not believe"
    figure.suptitle(
        _plain(f"{judged.name}, β = {judged.cell['beta']:g} ({state})"),
        fontsize=9,
        x=0.02,
        ha="left",
    )
    figure.supylabel(quantity, fontsize=9)
    panels = figure.subplots(max(1, len(rows)), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, chain, index in zip(panels, rows, range(len(rows)), strict=False):
        chosen = extremes(chain, _MOST_POINTS // 2)
        values = np.where(np.isfinite(chain[chosen]), chain[chosen], math.nan)
        axes.set_xlim(0, max(len(chain) - 1, 1))
        axes.plot(chosen, values, color=_COLOURS[0], linewidth=0.6)
        mean = float(chain.mean())
        if math.isfinite(mean):
            axes.axhline(mean, color="black", linewidth=0.8, linestyle="--")
        if judged.cell["exact"] is not None:
            axes.axhline(judged.cell["exact"], color="black", linewidth=0.8, linestyle=":")
        axes.set_title(f"chain {index}, mean {number(mean)}", fontsize=7, loc="right", pad=1)
    panels[-1].set_xlabel("draw (dashed: mean; dotted: exact)")
    if len(loss) > len(rows) > 0:
        panels[-1].set_xlabel(f"draw (dashed: mean; dotted: exact); {len(loss)} chains in all")
    return figure
