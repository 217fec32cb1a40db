"""`sltprob ladder`: the whole curve of lambda-hat and free energy from one run."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import rich.box
import rich.markup
import typer
import xarray as xr
from rich.console import Console
from rich.table import Table

from sltprob import draws as schema
from sltprob.cli._app import app
from sltprob.cli._options import (
    AsJson,
    Chains,
    Draws,
    Dtype,
    Init,
    Reparameterise,
    Seed,
    Strict,
    WarmupOption,
    configure,
    exit_unless_trusted,
    read_betas,
)
from sltprob.cli._output import number, print_json, print_verdict
from sltprob.diagnostics import diagnose
from sltprob.files import new_file
from sltprob.ladder import ladder as read_ladder

__all__ = ["ladder"]

_EXACT = ("lambda_hat", "mcse", "free_energy", "free_energy_mcse")


@app.command()
def ladder(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_OR_RUN", help="a model to sample, or a stored RUN.nc")
    ] = "tanh_zero",
    sampler: Annotated[
        str, typer.Option(help="replica_exchange or tempered_smc, with options")
    ] = "replica_exchange",
    beta: Annotated[float, typer.Option(help="inverse temperature of the coldest rung")] = 1e4,
    chains: Chains = 4,
    draws: Draws = 2000,
    warmup: WarmupOption = 500,
    seed: Seed = 0,
    init: Init = "prior",
    reparameterise: Reparameterise = "none",
    out: Annotated[Path | None, typer.Option(help="file to write, ending in .nc")] = None,
    dtype: Dtype = "float64",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat and the free energy on every rung from the prior to beta."""
    if model.endswith(".nc"):
        if out is not None:
            raise ValueError(f"--out goes with a model to sample; {model} is stored already")
        run = schema.load(model)
    else:
        if out is not None:
            new_file(out)
        configure(dtype)
        run = _sample(
            model,
            sampler,
            read_betas(f"{beta}")[0],
            None if reparameterise == "none" else reparameterise,
            {"chains": chains, "draws": draws, "warmup": warmup, "seed": seed, "init": init},
        )
    rows = _rows(run)
    if out is not None:
        schema.save(run, out)
    verdict = diagnose(run)
    if as_json:
        print_json(
            {
                "model": run.attrs["model"],
                "sampler": run.attrs["sampler"],
                "beta": float(run.attrs["beta"]),
                "seed": int(run.attrs["seed"]),
                "rungs": rows,
                "verdict": verdict.status,
                "checks": [asdict(check) for check in verdict.checks],
            }
        )
    else:
        _print(rows, f"{run.attrs['model']}, {run.attrs['sampler']}")
        print_verdict(verdict)
    exit_unless_trusted([{"verdict": verdict.status}], strict)


def _sample(
    model: str, sampler: str, beta: float, chart: str | None, options: dict[str, Any]
) -> xr.DataTree:
    """Sample, and put the exact values of every rung into the run."""
    from sltprob import models
    from sltprob import samplers as registry
    from sltprob.comparison import check_applicable, measure
    from sltprob.progress import ProgressBar
    from sltprob.samplers._ladder import LadderSampler
    from sltprob.tempering import temper

    chosen, kernel = models.get(model), registry.get(sampler)
    if not isinstance(kernel, LadderSampler):
        raise ValueError(
            f"--sampler {sampler}: it has one temperature only; write --sampler replica_exchange "
            "or --sampler tempered_smc"
        )
    posterior = temper(chosen, beta=beta, reparameterise=chart)
    check_applicable([kernel], posterior)
    with ProgressBar() as bar:
        run = measure(posterior, kernel, exact=chosen.exact(beta), progress=bar, **options)
    betas = run["sample_stats"].to_dataset()["beta"].values
    exacts = [chosen.exact(float(value)) for value in betas if value > 0]
    constants = run["constant_data"].to_dataset()
    for name in _EXACT:
        values = [math.nan if exact is None else getattr(exact, name) for exact in exacts]
        # At beta = 0 both are zero by definition.
        constants[f"ladder_exact_{name}"] = ("beta", [0.0] * (len(betas) - len(values)) + values)
    run["constant_data"] = xr.DataTree(constants)
    return run


def _rows(run: xr.DataTree) -> list[dict[str, Any]]:
    """Put the exact values beside the estimates, one row for each rung."""
    constants = run["constant_data"].to_dataset() if "constant_data" in run.children else {}
    rows = []
    for rung in read_ladder(run).rungs:
        row: dict[str, Any] = {
            "beta": rung.beta,
            "lambda_hat": rung.lambda_hat.value,
            "mcse": rung.lambda_hat.mcse,
            "ess": rung.lambda_hat.ess,
            "free_energy": rung.free_energy,
            "free_energy_mcse": rung.free_energy_mcse,
            "integrated": rung.integrated,
            "integrated_error": rung.integrated_error,
        }
        exact = dict.fromkeys(_EXACT, math.nan)
        for name in _EXACT:
            if f"ladder_exact_{name}" in constants:
                exact[name] = float(constants[f"ladder_exact_{name}"].sel(beta=rung.beta))
        row |= {f"exact_{name}": value for name, value in exact.items()}
        for name, error in (("lambda_hat", "mcse"), ("free_energy", "free_energy_mcse")):
            total = math.hypot(row[error], exact[error])
            row[f"z_{name}"] = (row[name] - exact[name]) / total if total > 0 else math.nan
        rows.append({key: None if math.isnan(value) else value for key, value in row.items()})
    return rows


def _print(rows: list[dict[str, Any]], title: str) -> None:
    table = Table(
        title=rich.markup.escape(title),
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for heading in ("β", "λ̂ ± MCSE", "exact", "z", "F ± MCSE", "exact", "z"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            number(row["beta"], 3),
            f"{number(row['lambda_hat'])} ± {number(row['mcse'], 2)}",
            number(row["exact_lambda_hat"]),
            _score(row["z_lambda_hat"]),
            f"{number(row['free_energy'])} ± {number(row['free_energy_mcse'], 2)}",
            number(row["exact_free_energy"]),
            _score(row["z_free_energy"]),
        )
    Console().print(table)
    Console().print()


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}"
