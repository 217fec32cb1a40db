"""Pictures of the finding as SVG, for a document: by Matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sltprob.files import whole
from sltprob.report.judged import Judged
from sltprob.theory.scale import ScaleRow

__all__ = ["write_curve_svg", "write_svg"]

# A fixed salt and no date give the same file each time.
_STYLE: Any = {
    "font.size": 9.0,
    "svg.hashsalt": "sltprob",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def write_svg(path: Path, draw: Callable[[Any], None]) -> Path | None:
    """Write what `draw` makes of one pair of axes as SVG, if Matplotlib is installed."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.0, 4.2), layout="constrained")
        draw(figure.subplots())
        with whole(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
    return path


def write_curve_svg(
    rows: Sequence[ScaleRow], path: Path, *, judged: Sequence[Judged] = ()
) -> Path | None:
    """Write lambda-hat with its bounds as SVG, if Matplotlib is installed."""
    return write_svg(path, lambda axes: _draw_curve(axes, rows, judged))


def _draw_curve(axes: Any, rows: Sequence[ScaleRow], judged: Sequence[Judged]) -> None:
    betas = [row.beta for row in rows]
    _draw_theory(axes, rows, betas)
    for believable, fill, label in (
        (True, "#0072B2", "sampled, trusted"),
        (False, "none", "sampled, not trusted"),
    ):
        runs = [
            run
            for run in judged
            if run.believable is believable and (run.cell["lambda_hat"] or 0) > 0
        ]
        if runs:
            axes.errorbar(
                [run.cell["beta"] for run in runs],
                [run.cell["lambda_hat"] for run in runs],
                yerr=[run.cell["mcse"] or 0.0 for run in runs],
                fmt="s",
                color="#0072B2",
                markerfacecolor=fill,
                label=label,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20, 50, 100]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    levels = [row.claimed for row in rows if row.claimed is not None]
    top = max([row.mode_bound or row.lambda_hat for row in rows] + levels)
    axes.set_ylim(0.6 * min(row.lambda_hat for row in rows), 1.6 * top)
    axes.set_xlabel("inverse temperature β")
    axes.set_ylabel("λ̂(β)")
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.16))


def _draw_theory(axes: Any, rows: Sequence[ScaleRow], betas: Sequence[float]) -> None:
    axes.plot(betas, [row.lambda_hat for row in rows], "o", color="black", ms=3.5, label="exact")
    curves: tuple[tuple[str, list[float | None], str, str], ...] = (
        ("infinite width (NNGP)", [row.nngp for row in rows], "#009E73", "-"),
        ("mode bound (rigorous)", [row.mode_bound for row in rows], "#D55E00", "--"),
        ("¼(log β/π)²", [row.crude_count or None for row in rows], "#E69F00", ":"),
    )
    for label, values, color, style in curves:
        known = [(b, v) for b, v in zip(betas, values, strict=True) if v is not None]
        if known:
            axes.plot(*zip(*known, strict=True), style, color=color, label=label)
    first = rows[0]
    for level, text in (
        (first.claimed, "claimed: h/2 = {:g}"),
        (first.learning_coefficient, "theorem: λ = {:.4g}"),
    ):
        if level is not None:
            axes.axhline(level, color="grey", lw=0.8)
            words = text.format(level)
            if rows[-1].lambda_hat > 0.8 * level:
                # Below its right end, where nothing else is.
                axes.text(betas[-1], 0.95 * level, words, fontsize=8, ha="right", va="top")
            else:
                axes.text(betas[0], 1.05 * level, words, fontsize=8)
