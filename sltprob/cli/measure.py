"""`sltprob compare` and `sltprob run`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sltprob import draws as schema
from sltprob.cell import summarise
from sltprob.cli._app import app
from sltprob.cli._files import (
    check_new_file,
    file_name,
    new_folder,
    open_in_browser,
    write_csv,
)
from sltprob.cli._options import (
    AsJson,
    Chains,
    Draws,
    Dtype,
    Init,
    ModelArgument,
    OpenPage,
    Reparameterise,
    Seed,
    Strict,
    TargetMcse,
    WarmupOption,
    configure,
    exit_unless_trusted,
    read_betas,
)
from sltprob.cli._output import (
    COLOURS,
    number,
    print_json,
    print_table,
    print_trace,
    print_verdict,
)
from sltprob.diagnostics import Verdict, diagnose
from sltprob.estimate import estimate

if TYPE_CHECKING:
    from sltprob.exact import Exact
    from sltprob.models import Model

__all__ = ["compare", "run"]


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
    reparameterise: Reparameterise = "none",
    target_mcse: TargetMcse = None,
    out: Annotated[Path | None, typer.Option(help="new or empty folder for the results")] = None,
    dtype: Dtype = "float64",
    strict: Strict = False,
    open_page: OpenPage = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat with several samplers, against the exact value."""
    configure(dtype)
    from sltprob import models
    from sltprob import samplers as registry
    from sltprob.comparison import check_applicable
    from sltprob.report import write_report
    from sltprob.spec import split_outside_brackets
    from sltprob.tempering import temper

    chosen = models.get(model)
    kernels = [registry.get(text) for text in split_outside_brackets(samplers)]
    values = read_betas(betas)
    if not kernels:
        raise ValueError(f"--samplers {samplers!r} names none; write --samplers sgld,mala,hmc")
    chart = None if reparameterise == "none" else reparameterise
    posteriors = [temper(chosen, beta=value, reparameterise=chart) for value in values]
    check_applicable(kernels, posteriors[0])
    folder = new_folder(out or Path("runs") / f"compare-{datetime.now():%Y%m%d-%H%M%S}")
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
            schema.save(run, folder / "runs" / f"{file_name(cell)}.nc")
            runs.append(run)
            cells.append(cell)
    cells.sort(key=lambda cell: values.index(cell["beta"]))
    write_csv(cells, folder / "summary.csv")
    curve = [exact for exact in _curve(chosen, values) if exact is not None]
    command = shlex.join(["sltprob", *sys.argv[1:]])
    write_report(
        runs, folder / "report.html", curve=curve, title=cells[0]["model"], command=command
    )
    if as_json:
        print_json(cells)
    else:
        for beta in values:
            print_table([cell for cell in cells if cell["beta"] == beta], f"β = {beta:g}")
        Console().print(f"written: {folder / 'report.html'}, summary.csv, runs/", soft_wrap=True)
    if open_page:
        open_in_browser(folder / "report.html")
    exit_unless_trusted(cells, strict)


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
    reparameterise: Reparameterise = "none",
    target_mcse: TargetMcse = None,
    out: Annotated[Path | None, typer.Option(help="file to write, ending in .nc")] = None,
    dtype: Dtype = "float64",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat once, and judge the measurement."""
    configure(dtype)
    from sltprob import samplers as registry

    kernel = registry.get(sampler)
    posterior, truth = _posterior(model, data, beta, minimum_loss, reparameterise)
    if out is not None:
        check_new_file(out)
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
        print_json(cell)
    else:
        print_table([cell], f"{cell['model']}, β = {cell['beta']:g}")
        if beta == "wbic":
            Console().print(f"WBIC = {cell['wbic']:.6g} (n times the mean loss, in nats)")
        print_trace(result)
        print_verdict(verdict)
    exit_unless_trusted([cell], strict)


def _posterior(
    model: str, data: Path | None, beta: str, minimum_loss: float | None, reparameterise: str
) -> tuple[Any, Exact | None]:
    """Temper a registered model, or a program of the user's own with the best loss found."""
    from sltprob import models
    from sltprob.optimum import find_optimum
    from sltprob.program import load_data, load_program
    from sltprob.tempering import temper

    own = ".py:" in model
    if own and data is None:
        raise ValueError(f"{model} needs its data; write --data data.npz with its arguments")
    if not own and data is not None:
        raise ValueError(f"--data goes with a program of your own; {model!r} has its own data")
    known = None if own else models.get(model)
    chosen = known or load_program(model)
    posterior = temper(
        chosen,
        load_data(data) if data else None,
        beta=1.0,
        minimum_loss=minimum_loss,
        reparameterise=None if reparameterise == "none" else reparameterise,
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
        values = read_betas(beta)
        if len(values) != 1:
            raise ValueError(f"--beta {beta}: it takes one number; for several, sltprob compare")
        (value,) = values
    posterior = posterior.at(value)
    if math.isnan(float(posterior.minimum_loss)):
        least = find_optimum(posterior).loss
        posterior = dataclasses.replace(posterior, minimum_loss=posterior.beta * 0 + least)
    return posterior, known.exact(value) if known else None


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    from sltprob.progress import ProgressBar

    with ProgressBar() as bar:
        yield bar


def _measure_one(
    posterior: Any, sampler: Any, exact: Exact | None, options: dict[str, Any]
) -> tuple[Any, dict[str, Any], Verdict]:
    from sltprob.comparison import measure

    with _progress() as bar:
        result = measure(posterior, sampler, exact=exact, progress=bar, **options)
    verdict = diagnose(result)
    cell = summarise(result, verdict)
    Console(stderr=True).print(
        f"{cell['sampler']} β={cell['beta']:g}: λ̂ = {number(cell['lambda_hat'])} ± "
        f"{number(cell['mcse'], 2)}{_averaged(result)}, {cell['verdict']}",
        style=COLOURS[cell["verdict"]],
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return result, cell, verdict


def _averaged(result: Any) -> str:
    """Add the estimate with the readout averaged over, where there is one."""
    if "energy_excess" not in result["sample_stats"]:
        return ""
    averaged = estimate(result, rao_blackwell=True)
    return f" ({number(averaged.value)} ± {number(averaged.mcse, 2)} with the readout averaged)"


def _curve(model: Model, betas: list[float]) -> list[Exact | None]:
    """Give the exact curve over the range of betas, a few points a decade."""
    low, high = math.log10(min(betas)), math.log10(max(betas))
    points = max(2, math.ceil(3 * (high - low)) + 1)
    grid = {10 ** (low + (high - low) * index / (points - 1)) for index in range(points)}
    return [model.exact(beta) for beta in sorted(grid | set(betas))]
