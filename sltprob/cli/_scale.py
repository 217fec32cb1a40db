"""What the commands about lambda-hat across scales share: ranges, rows, stored runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sltprob.cli._options import read_betas

if TYPE_CHECKING:
    from sltprob.exact import Exact
    from sltprob.models import Model

__all__ = [
    "BetaRange",
    "EmbeddingPrior",
    "Out",
    "Width",
    "averaged",
    "columns",
    "exact_values",
    "read_range",
    "stored",
    "tell",
    "trusted_columns",
]

BetaRange = Annotated[
    str, typer.Option(help="range from:to[:per decade], such as 1:1e12, or comma-separated")
]
Width = Annotated[int, typer.Option(help="hidden units")]
EmbeddingPrior = Annotated[str, typer.Option(help="uniform[bound] or normal[sd]")]
Out = Annotated[Path | None, typer.Option(help="new or empty folder for the page and the CSV")]


def read_range(text: str) -> list[float]:
    """Read ``1:1e12``, ``1:1e12:4`` or a list of inverse temperatures."""
    from sltprob.finding.scale import geometric

    if ":" not in text:
        return sorted(read_betas(text))
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise ValueError(f"--betas {text}: write from:to or from:to:per-decade, such as 1:1e12:2")
    return geometric(*numbers)


def columns(values: Sequence[Exact]) -> tuple[list[float], list[float], list[float]]:
    """Give betas, values and errors."""
    return (
        [value.beta for value in values],
        [value.lambda_hat for value in values],
        [value.mcse for value in values],
    )


def tell(value: Exact) -> None:
    """Tell of an exact value on standard error."""
    text = f"β = {value.beta:.3g}: λ̂ = {value.lambda_hat:.5g} ({value.method})"
    Console(stderr=True).print(text, style="dim", highlight=False, markup=False, soft_wrap=True)


def exact_values(model: Model, betas: Sequence[float], tolerance: float) -> list[Exact]:
    """Compute exact values, and tell of each on standard error."""
    from sltprob.finding import scale

    return scale.exact_values(model, betas, tolerance=tolerance, progress=tell)


def stored(path: Path, model: str) -> list[Any]:
    """Load stored runs of a model."""
    from sltprob import draws as schema

    files = sorted(path.rglob("*.nc")) if path.is_dir() else [path]
    found = [schema.load(file) for file in files]
    kept = [run for run in found if str(run.attrs["model"]) == model]
    if not kept:
        seen = ", ".join(sorted({str(run.attrs["model"]) for run in found})) or "no run"
        raise ValueError(f"--runs {path}: it holds {seen}, nothing of {model}")
    return kept


def trusted_columns(path: Path, model: str) -> tuple[list[float], list[float], list[float]]:
    """Give the measurements of stored runs whose verdict trusts them."""
    from sltprob.cell import summarise

    cells = [summarise(run) for run in stored(path, model)]
    kept = [
        cell
        for cell in cells
        if cell["verdict"] == "trusted" and cell["lambda_hat"] is not None and cell["mcse"]
    ]
    if len(kept) < 5:
        raise ValueError(
            f"--runs {path}: {len(kept)} of {len(cells)} runs of {model} are trusted, and telling "
            "forms apart takes 5 or more at different betas"
        )
    kept.sort(key=lambda cell: cell["beta"])
    return tuple([cell[key] for cell in kept] for key in ("beta", "lambda_hat", "mcse"))  # type: ignore[return-value]


def averaged(
    betas: Sequence[float], values: Sequence[float], errors: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Average measurements of one beta, by the inverse squares of their errors."""
    found = []
    for beta in sorted(set(betas)):
        own = [
            (value, error)
            for other, value, error in zip(betas, values, errors, strict=True)
            if other == beta
        ]
        precision = sum(error**-2 for _, error in own)
        mean = sum(value * error**-2 for value, error in own) / precision
        found.append((beta, mean, precision**-0.5))
    return found
