"""The options that several commands have, and how their text is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sltprob.cli._compilation import keep_compiled_code
from sltprob.spec import split_outside_brackets

__all__ = [
    "AsJson",
    "Chains",
    "DataOption",
    "Draws",
    "Dtype",
    "Init",
    "MinimumLoss",
    "ModelArgument",
    "OpenPage",
    "Quiet",
    "Reparameterise",
    "RowsOption",
    "Seed",
    "Strict",
    "TargetMcse",
    "Tolerance",
    "WarmupOption",
    "configure",
    "exit_unless_trusted",
    "names",
    "read_betas",
    "read_init",
    "read_rows",
]

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="such as 'tanh_zero[width=64]', or your own path/to/file.py:function"
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", help="arguments of your own program: npz, csv, parquet, arrow, netCDF or zarr"
    ),
]
RowsOption = Annotated[
    str | None,
    typer.Option(
        "--rows", help="what counts the data of your own program: a plate, or an axis such as 0"
    ),
]
MinimumLoss = Annotated[
    float | None, typer.Option(help="L*, where it is not known; by default searched for")
]
Chains = Annotated[int, typer.Option(help="number of chains")]
Draws = Annotated[int, typer.Option(help="kept draws per chain")]
WarmupOption = Annotated[int, typer.Option(help="warm-up draws per chain")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress on standard error")]
Seed = Annotated[int, typer.Option(help="the same seed gives the same draws")]
Init = Annotated[
    str,
    typer.Option(
        help="where chains start: prior, optimum, half of them each: both; or values in a file.npz"
    ),
]
TargetMcse = Annotated[
    str | None,
    typer.Option(help="stop when the error of lambda-hat is at most this, or such as 2%"),
]
Reparameterise = Annotated[
    str, typer.Option(help="readout: whiten the site in which the loss is quadratic; or none")
]
Dtype = Annotated[str, typer.Option(help="float64, or float32 where beta allows it")]
OpenPage = Annotated[bool, typer.Option("--open", help="open the report in a browser")]
Strict = Annotated[bool, typer.Option("--strict", help="exit with 1 unless all are trusted")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
Tolerance = Annotated[float, typer.Option(help="relative error wanted of the exact value")]


def configure(dtype: str) -> None:
    """Set the precision of everything that computes, and keep what is compiled."""
    if dtype not in ("float64", "float32"):
        raise ValueError(f"--dtype {dtype}: it must be float64 or float32")
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    keep_compiled_code()


def names(option: str, text: str, example: str) -> list[str]:
    """Read a comma-separated option that names something."""
    found = split_outside_brackets(text)
    if not found:
        raise ValueError(f"{option} {text!r} names none; write {option} {example}")
    return found


def read_betas(text: str) -> list[float]:
    """Read inverse temperatures, without repetitions."""
    values = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise ValueError(
                f"beta={part.strip()}: it must be positive and finite, as in --betas 1,1e2,1e4"
            )
        values.append(value)
    return list(dict.fromkeys(values))


def read_init(text: str) -> Any:
    """Read ``--init``: a word, or a file with the values of every site."""
    if not text.endswith(".npz"):
        return text
    from sltprob.reading import read_data

    return read_data(Path(text))


def read_rows(text: str | None) -> str | int | None:
    """Read ``--rows``: a whole number is an axis, another word a plate."""
    return int(text) if text is not None and text.lstrip("-").isdigit() else text


def exit_unless_trusted(cells: Sequence[dict[str, Any]], strict: bool) -> None:
    """Leave with 1 under --strict, if a verdict is not trusted."""
    if strict and any(cell["verdict"] != "trusted" for cell in cells):
        raise typer.Exit(1)
