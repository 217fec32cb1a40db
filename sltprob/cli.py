"""The command line. Only this module prints.

Exit codes: 0 done, 1 a verdict failed under --strict, 2 bad usage (one line on standard error).
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import inspect
import json
import math
import os
import secrets
import shlex
import sys
import typing
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

# Every error of usage of the parser; typer exports only this subclass.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

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
    from sltprob.posterior import temper
    from sltprob.report import write_report
    from sltprob.spec import split_outside_brackets

    chosen = models.get(model)
    kernels = [registry.get(text) for text in split_outside_brackets(samplers)]
    values = _betas(betas)
    if not kernels:
        raise ValueError(f"--samplers {samplers!r} names none; write --samplers sgld,mala,hmc")
    posteriors = [temper(chosen, beta=value) for value in values]
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
        for posterior, exact in zip(posteriors, exacts, strict=True):
            run, cell, _ = _measure_one(posterior, kernel, exact, options)
            schema.save(run, folder / "runs" / f"{_file_name(cell)}.nc")
            runs.append(run)
            cells.append(cell)
    cells.sort(key=lambda cell: values.index(cell["beta"]))
    _write_csv(cells, folder / "summary.csv")
    curve = [exact for exact in _curve(chosen, values) if exact is not None]
    command = shlex.join(["sltprob", *sys.argv[1:]])
    write_report(
        runs, folder / "report.html", curve=curve, title=cells[0]["model"], command=command
    )
    if as_json:
        _print_json(cells)
    else:
        for beta in values:
            _print_table([cell for cell in cells if cell["beta"] == beta], f"β = {beta:g}")
        Console().print(f"written: {folder / 'report.html'}, summary.csv, runs/", soft_wrap=True)
    _exit(cells, strict)


@app.command()
def run(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a model, or your own path/to/file.py:function")
    ],
    sampler: Annotated[str, typer.Option(help="such as 'hmc[num_steps=64]'")] = "hmc",
    beta: Annotated[
        str, typer.Option(help="inverse temperature; n the posterior, wbic for n/log(n)")
    ] = "1e4",
    data: Annotated[
        Path | None, typer.Option(help="arguments of your own program, an .npz file")
    ] = None,
    minimum_loss: Annotated[
        float | None, typer.Option(help="L*, where it is not known; by default searched for")
    ] = None,
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
    from sltprob import samplers as registry

    kernel = registry.get(sampler)
    posterior, truth = _posterior(model, data, beta, minimum_loss)
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
    result, cell, verdict = _measure_one(posterior, kernel, truth, options)
    if out is not None:
        schema.save(result, out)
    if beta == "wbic":
        cell["wbic"] = len(posterior.weights) * float(result["sample_stats"]["loss"].mean())
    if as_json:
        _print_json(cell)
    else:
        _print_table([cell], f"{cell['model']}, β = {cell['beta']:g}")
        if beta == "wbic":
            Console().print(f"WBIC = {cell['wbic']:.6g} (n times the mean loss, in nats)")
        _print_verdict(verdict)
    _exit([cell], strict)


def _posterior(
    model: str, data: Path | None, beta: str, minimum_loss: float | None
) -> tuple[Any, Exact | None]:
    """Temper a registered model, or a program of the user's own with the best loss found."""
    from sltprob import models
    from sltprob.optimum import find_optimum
    from sltprob.posterior import temper
    from sltprob.program import load_data, load_program

    own = ".py:" in model
    if own and data is None:
        raise ValueError(f"{model} needs its data; write --data data.npz with its arguments")
    if not own and data is not None:
        raise ValueError(f"--data goes with a program of your own; {model!r} has its own data")
    known = None if own else models.get(model)
    chosen = known or load_program(model)
    posterior = temper(
        chosen, load_data(data) if data else None, beta=1.0, minimum_loss=minimum_loss
    )
    if beta in ("wbic", "n"):
        size = len(posterior.weights)
        if (known is not None and known.n is None) or size < 3:
            raise ValueError(
                f"--beta {beta} needs a data set of n >= 3; write --data, or a model with n=, "
                "such as tanh_zero[n=1000]"
            )
        value = size / math.log(size) if beta == "wbic" else float(size)
    else:
        values = _betas(beta)
        if len(values) != 1:
            raise ValueError(f"--beta {beta}: it takes one number; for several, sltprob compare")
        (value,) = values
    posterior = posterior.at(value)
    if math.isnan(float(posterior.minimum_loss)):
        least = find_optimum(posterior).loss
        posterior = dataclasses.replace(posterior, minimum_loss=posterior.beta * 0 + least)
    return posterior, known.exact(value) if known else None


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


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="For example: sltprob rlct deep_linear --widths 10,5,10 --rank 3",
)
def rlct(
    context: typer.Context,
    formula: Annotated[str, typer.Argument(metavar="FORMULA", help="see sltprob rlct list")],
    as_json: AsJson = False,
) -> None:
    """Print a learning coefficient from theory, with its multiplicity and source.

    The parameters of the formula are options: whole numbers, or lists as in 10,5,10.
    """
    from sltprob.theory.learning_coefficients import FORMULAS

    if formula == "list":
        signatures = {name: list(_parameters(function)) for name, function in FORMULAS.items()}
        if as_json:
            _print_json(signatures)
        for name, parameters in signatures.items() if not as_json else ():
            Console().print(f"{name} {' '.join(f'--{key}' for key in parameters)}", markup=False)
        return
    if formula not in FORMULAS:
        raise ValueError(f"unknown formula {formula!r}; there are: {', '.join(FORMULAS)}")
    function = FORMULAS[formula]
    given = _extra_options(context.args)
    values = {}
    for key, annotation in _parameters(function).items():
        if key in given:
            values[key] = _whole_numbers(key, given.pop(key), many=annotation is not int)
    missing = [
        key
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and key not in values
    ]
    if given or missing:
        wanted = " ".join(f"--{key}" for key in _parameters(function))
        wrong = f"has no option --{next(iter(given))}" if given else f"needs --{missing[0]}"
        raise ValueError(f"{formula} {wrong}; its options are {wanted}")
    found = function(**values)
    if as_json:
        _print_json(
            {
                "formula": formula,
                "parameters": values,
                "learning_coefficient": str(found.value),
                "value": float(found.value),
                "multiplicity": found.multiplicity,
                "status": found.status,
                "source": found.source,
            }
        )
    else:
        Console().print(f"{found}  ({found.status})", highlight=False)
        Console().print(found.source, highlight=False, markup=False)


def _parameters(function: Any) -> dict[str, Any]:
    """Give the parameters of a formula with their types."""
    hints = typing.get_type_hints(function)
    return {name: hints[name] for name in inspect.signature(function).parameters}


def _extra_options(arguments: list[str]) -> dict[str, str]:
    """Read ``--key value`` and ``--key=value``."""
    options = {}
    rest = list(arguments)
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not key.startswith("--") or (not equals and not rest):
            raise ValueError(f"{key!r} is not an option with a value; write --option 3")
        options[key[2:].replace("-", "_")] = value if equals else rest.pop(0)
    return options


def _whole_numbers(key: str, text: str, *, many: bool) -> Any:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or (len(numbers) > 1 and not many):
        form = "whole numbers, such as 10,5,10" if many else "a whole number"
        raise ValueError(f"--{key} {text}: it takes {form}")
    return numbers if many else numbers[0]


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="models|samplers")], as_json: AsJson = False
) -> None:
    """List models or samplers with their options and defaults."""
    from sltprob import models, samplers

    if what not in ("models", "samplers"):
        raise ValueError(f"cannot list {what!r}; write sltprob list models or list samplers")
    registry = models.registry if what == "models" else samplers.registry
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for name in registry.names():
        cls = registry.type_of(name)
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        options = {field.name: field.default for field in dataclasses.fields(cls) if field.init}
        rows.append((name, summary, options))
    if as_json:
        _print_json([{"name": n, "summary": s, "options": o} for n, s, o in rows])
        return
    table = Table(title=what, title_justify="left")
    for heading in ("name", "options and defaults", "what it is"):
        table.add_column(heading, overflow="fold")
    for name, summary, options in rows:
        lines = [f"{key}={_plain(value)}" for key, value in options.items()]
        table.add_row(name, "\n".join(lines), summary)
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
    except _USAGE_ERROR as error:
        _fail(f"{error.format_message()} (see sltprob --help)")
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
    posterior: Any, sampler: Any, exact: Exact | None, options: dict[str, Any]
) -> tuple[Any, dict[str, Any], Verdict]:
    from sltprob.study.measure import measure

    with _progress() as bar:
        result = measure(posterior, sampler, exact=exact, progress=bar, **options)
    verdict = diagnose(result)
    cell = summarise(result, verdict)
    Console(stderr=True).print(
        f"{cell['sampler']} β={cell['beta']:g}: λ̂ = {_number(cell['lambda_hat'])} ± "
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


def _short(count: float) -> str:
    """Write a large count in four characters: 1.2M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{suffix}"
    return f"{count:.3g}"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _print_table(cells: list[dict[str, Any]], title: str) -> None:
    table = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("sampler", overflow="fold", min_width=9)
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
            "–"
            if per_second is None
            else f"{per_second:.3g}"
            if per_second < 100
            else f"{per_second:.0f}",
            _short(cell["gradients"]),
            f"{cell['seconds_warmup'] + seconds:.1f} s",
            f"[{_COLOURS[cell['verdict']]}]{cell['verdict']}[/]",
        )
    Console().print(table)


def _print_verdict(verdict: Verdict) -> None:
    console = Console()
    console.print(
        f"{verdict.status}: {verdict.reason}", style=_COLOURS[verdict.status], markup=False
    )
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
