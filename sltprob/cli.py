"""The command line. Only this module prints.

Exit codes: 0 done, 1 a verdict failed under --strict, 2 bad usage (one line on standard error).
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import math
import os
import secrets
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.box
import rich.markup
import typer
from rich.console import Console
from rich.table import Table

from sltprob import draws as schema
from sltprob.diagnostics import Verdict, diagnose
from sltprob.study.cell import CELL_FIELDS, summarise

if TYPE_CHECKING:
    from sltprob.exact import Exact
    from sltprob.models import Model

__all__ = ["app", "main"]

app = typer.Typer(
    help="Measure lambda-hat of singular models, and say when not to believe the measurement.",
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

_COLOURS = {"trusted": "green", "doubtful": "yellow", "wrong": "red"}

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="such as 'tanh_zero[width=64]'; see list models")
]
Chains = Annotated[int, typer.Option(help="number of chains")]
Draws = Annotated[int, typer.Option(help="kept draws per chain")]
WarmupOption = Annotated[int, typer.Option(help="warm-up draws per chain")]
Seed = Annotated[int, typer.Option(help="the same seed gives the same draws")]
Init = Annotated[str, typer.Option(help="where chains start: prior or optimum")]
TargetMcse = Annotated[
    float | None, typer.Option(help="stop when the error of lambda-hat is at most this")
]
Dtype = Annotated[str, typer.Option(help="float64, or float32 where beta allows it")]
Strict = Annotated[bool, typer.Option("--strict", help="exit with 1 unless all are trusted")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
Tolerance = Annotated[float, typer.Option(help="relative error wanted of the exact value")]


@app.command()
def compare(
    model: ModelArgument = "tanh_zero",
    samplers: Annotated[str, typer.Option(help="comma-separated")] = "sgld,mala,hmc",
    betas: Annotated[str, typer.Option(help="comma-separated")] = "1,1e2,1e4",
    chains: Chains = 4,
    draws: Draws = 2000,
    warmup: WarmupOption = 500,
    seed: Seed = 0,
    init: Init = "prior",
    target_mcse: TargetMcse = None,
    out: Annotated[Path | None, typer.Option(help="new or empty folder for the results")] = None,
    dtype: Dtype = "float64",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat with several samplers, against the exact value."""
    _configure(dtype)
    from sltprob import models
    from sltprob import samplers as registry
    from sltprob.report import write_report
    from sltprob.spec import split_outside_brackets

    chosen = models.get(model)
    kernels = [registry.get(text) for text in split_outside_brackets(samplers)]
    values = _betas(betas)
    if not kernels:
        raise ValueError(f"--samplers {samplers!r} names none; write --samplers sgld,mala,hmc")
    _check_posteriors(chosen, values)
    folder = _new_folder(out or Path("runs") / f"compare-{datetime.now():%Y%m%d-%H%M%S}")
    exacts = [chosen.exact(beta) for beta in values]
    options: dict[str, Any] = {
        "chains": chains,
        "draws": draws,
        "warmup": warmup,
        "seed": seed,
        "init": init,
        "target_mcse": target_mcse,
    }
    runs, cells = [], []
    for kernel in kernels:
        for beta, exact in zip(values, exacts, strict=True):
            run, cell, _ = _measure_one(chosen, kernel, beta, exact, options)
            schema.save(run, folder / "runs" / f"{_file_name(cell)}.nc")
            runs.append(run)
            cells.append(cell)
    cells.sort(key=lambda cell: values.index(cell["beta"]))
    _write_csv(cells, folder / "summary.csv")
    curve = [exact for exact in _curve(chosen, values) if exact is not None]
    command = shlex.join(["sltprob", *sys.argv[1:]])
    write_report(runs, folder / "report.html", curve=curve, title=cells[0]["model"], command=command)
    if as_json:
        _print_json(cells)
    else:
        for beta in values:
            _print_table([cell for cell in cells if cell["beta"] == beta], f"β = {beta:g}")
        Console().print(f"written: {folder / 'report.html'}, summary.csv, runs/", soft_wrap=True)
    _exit(cells, strict)


@app.command()
def run(
    model: ModelArgument,
    sampler: Annotated[str, typer.Option(help="such as 'hmc[num_steps=64]'")] = "hmc",
    beta: Annotated[str, typer.Option(help="inverse temperature")] = "1e4",
    chains: Chains = 4,
    draws: Draws = 2000,
    warmup: WarmupOption = 500,
    seed: Seed = 0,
    init: Init = "prior",
    target_mcse: TargetMcse = None,
    out: Annotated[Path | None, typer.Option(help="file to write, ending in .nc")] = None,
    dtype: Dtype = "float64",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat once, and judge the measurement."""
    _configure(dtype)
    from sltprob import models
    from sltprob import samplers as registry

    chosen = models.get(model)
    kernel = registry.get(sampler)
    values = _betas(beta)
    if len(values) != 1:
        raise ValueError(f"--beta {beta}: it takes one number; for several, sltprob compare")
    (value,) = values
    _check_posteriors(chosen, [value])
    if out is not None:
        _check_new_file(out)
    options: dict[str, Any] = {
        "chains": chains,
        "draws": draws,
        "warmup": warmup,
        "seed": seed,
        "init": init,
        "target_mcse": target_mcse,
    }
    result, cell, verdict = _measure_one(chosen, kernel, value, chosen.exact(value), options)
    if out is not None:
        schema.save(result, out)
    if as_json:
        _print_json(cell)
    else:
        _print_table([cell], f"{cell['model']}, β = {value:g}")
        _print_verdict(verdict)
    _exit([cell], strict)


@app.command()
def exact(
    model: ModelArgument = "tanh_zero",
    betas: Annotated[str, typer.Option(help="comma-separated")] = "1,1e2,1e4",
    tolerance: Tolerance = 0.01,
    as_json: AsJson = False,
) -> None:
    """Compute lambda-hat and the free energy without sampling the posterior."""
    _configure("float64")
    from sltprob import models

    chosen = models.get(model)
    values = _betas(betas)
    if not 0 < tolerance < 1:
        raise ValueError(f"--tolerance {tolerance:g}: it must lie between 0 and 1, such as 0.01")
    rows = [chosen.exact(beta, tolerance=tolerance) for beta in values]
    if any(row is None for row in rows):
        raise ValueError(f"no exact answer is known for {model}; see sltprob list models")
    if as_json:
        _print_json([asdict(row) for row in rows if row is not None])
        return
    table = Table(title=models.specification(chosen), title_justify="left")
    for heading in ("β", "λ̂", "±", "F", "±"):
        table.add_column(heading, justify="right")
    table.add_column("method")
    for row in rows:
        assert row is not None
        table.add_row(
            f"{row.beta:g}",
            f"{row.lambda_hat:.5g}",
            f"{row.mcse:.1g}",
            f"{row.free_energy:.6g}",
            f"{row.free_energy_mcse:.1g}",
            row.method,
        )
    Console().print(table)
    truth = chosen.truth()
    if truth.learning_coefficient is not None:
        Console().print(
            f"β → ∞: λ = {truth.learning_coefficient}, m = {truth.multiplicity} "
            f"({truth.status}; {truth.source})"
        )


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="models|samplers")], as_json: AsJson = False
) -> None:
    """List models or samplers with their options and defaults."""
    from sltprob import models, samplers

    if what not in ("models", "samplers"):
        raise ValueError(f"cannot list {what!r}; write sltprob list models or list samplers")
    registry = models.registry if what == "models" else samplers.registry
    rows = []
    for name in registry.names():
        cls = registry.type_of(name)
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        options = {field.name: field.default for field in dataclasses.fields(cls) if field.init}
        rows.append({"name": name, "summary": summary, "options": options})
    if as_json:
        _print_json(rows)
        return
    table = Table(title=what, title_justify="left")
    for heading in ("name", "options and defaults", "what it is"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        lines = [f"{key}={_plain(value)}" for key, value in row["options"].items()]
        table.add_row(row["name"], "\n".join(lines), row["summary"])
    Console().print(table)


@app.command("diagnose")
def diagnose_(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="a stored run, RUN.nc")],
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Judge a stored run; needs no JAX."""
    stored = schema.load(path)
    verdict = diagnose(stored)
    cell = summarise(stored, verdict)
    if as_json:
        _print_json({**cell, "checks": [asdict(check) for check in verdict.checks]})
    else:
        _print_table([cell], f"{cell['model']}, β = {cell['beta']:g}")
        _print_verdict(verdict)
    _exit([cell], strict)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every error of usage is one line and exit code 2.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments or ["--help"], prog_name="sltprob", standalone_mode=False)
    except typer.BadParameter.__mro__[1] as error:  # every error of usage of the parser
        message = error.format_message()  # type: ignore[attr-defined]
        _fail(f"{message} (see sltprob --help)")
    except (ValueError, TypeError, OSError) as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("sltprob: stopped\n")
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    sys.stderr.write(f"sltprob: {' '.join(message.split())}\n")
    sys.exit(2)


def _configure(dtype: str) -> None:
    if dtype not in ("float64", "float32"):
        raise ValueError(f"--dtype {dtype}: it must be float64 or float32")
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")


def _betas(text: str) -> list[float]:
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


def _check_posteriors(model: Model, betas: list[float]) -> None:
    """Refuse what no cell could do, before anything is written."""
    from sltprob.posterior import temper

    for beta in betas:
        temper(model, beta=beta)


def _new_folder(path: Path) -> Path:
    """Make a folder that is new or empty and can be written."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path}: a file of that name exists; choose another folder")
    try:
        if path.is_dir() and any(path.iterdir()):
            raise ValueError(f"--out {path}: the folder is not empty; choose a new one")
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"--out {path}: cannot be written ({error.strerror})") from None
    return path


def _check_new_file(path: Path) -> None:
    if path.exists():
        raise ValueError(f"--out {path}: the file exists; choose another name")
    parent = path.absolute().parent
    existing = next(folder for folder in (parent, *parent.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"--out {path}: the folder cannot be written")


def _file_name(cell: dict[str, Any]) -> str:
    """Name a run so that a person recognises it, and any file system takes it."""
    safe = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in cell["sampler"])
    return f"{safe.strip('-')}-beta{cell['beta']:g}-seed{cell['seed']}"


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    from sltprob.progress import ProgressBar

    with ProgressBar() as bar:
        yield bar


def _measure_one(
    model: Model, sampler: Any, beta: float, exact: Exact | None, options: dict[str, Any]
) -> tuple[Any, dict[str, Any], Verdict]:
    from sltprob.study.measure import measure

    with _progress() as bar:
        result = measure(model, sampler, beta, exact=exact, progress=bar, **options)
    verdict = diagnose(result)
    cell = summarise(result, verdict)
    Console(stderr=True).print(
        f"{cell['sampler']} β={beta:g}: λ̂ = {_number(cell['lambda_hat'])} ± "
        f"{_number(cell['mcse'], 2)}, {cell['verdict']}",
        style=_COLOURS[cell["verdict"]],
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return result, cell, verdict


def _curve(model: Model, betas: list[float]) -> list[Exact | None]:
    """Give the exact curve over the range of betas, a few points a decade."""
    low, high = math.log10(min(betas)), math.log10(max(betas))
    points = max(2, math.ceil(3 * (high - low)) + 1)
    grid = {10 ** (low + (high - low) * index / (points - 1)) for index in range(points)}
    return [model.exact(beta) for beta in sorted(grid | set(betas))]


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _print_table(cells: list[dict[str, Any]], title: str) -> None:
    table = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("sampler", overflow="fold")
    for heading in ("λ̂ ± MCSE", "exact", "z", "ESS", "ESS/s", "gradients", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for cell in cells:
        seconds = cell["seconds_sampling"]
        per_second = None if cell["ess"] is None or seconds <= 0 else cell["ess"] / seconds
        table.add_row(
            rich.markup.escape(cell["sampler"]),
            f"{_number(cell['lambda_hat'])} ± {_number(cell['mcse'], 2)}",
            _number(cell["exact"]),
            "–" if cell["z"] is None else f"{cell['z']:+.1f}",
            "–" if cell["ess"] is None else f"{cell['ess']:.0f}",
            _number(per_second, 3),
            f"{cell['gradients']:.3g}",
            f"{cell['seconds_warmup'] + seconds:.1f} s",
            f"[{_COLOURS[cell['verdict']]}]{cell['verdict']}[/]",
        )
    Console().print(table)


def _print_verdict(verdict: Verdict) -> None:
    console = Console()
    console.print(f"{verdict.status}: {verdict.reason}", style=_COLOURS[verdict.status], markup=False)
    for check in verdict.failed:
        console.print(f"  {check}", markup=False)
        console.print(f"    {check.advice}", markup=False)


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(_finite(document), ensure_ascii=False, indent=2) + "\n")


def _finite(document: Any) -> Any:
    """Replace what JSON cannot say by null."""
    if isinstance(document, dict):
        return {key: _finite(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_finite(value) for value in document]
    if isinstance(document, float) and not math.isfinite(document):
        return None
    return document


def _write_csv(cells: list[dict[str, Any]], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, CELL_FIELDS)
        writer.writeheader()
        for cell in cells:
            writer.writerow({**cell, "failed_checks": ";".join(cell["failed_checks"])})
    temporary.replace(path)


def _exit(cells: list[dict[str, Any]], strict: bool) -> None:
    if strict and any(cell["verdict"] != "trusted" for cell in cells):
        raise typer.Exit(1)
