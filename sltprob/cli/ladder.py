"""`sltprob ladder`: the whole curve of lambda-hat and free energy from one run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sltprob.cli._app import MEASURE, app
from sltprob.cli._options import (
    AsJson,
    Chains,
    DataOption,
    Draws,
    Dtype,
    MinimumLoss,
    Quiet,
    Reparameterise,
    RowsOption,
    Seed,
    Strict,
    WarmupOption,
    configure,
    exit_unless_trusted,
    read_rows,
)
from sltprob.cli._output import number, print_json, print_rows, print_verdict
from sltprob.files import new_file

__all__ = ["ladder", "print_rungs"]


@app.command(rich_help_panel=MEASURE)
def ladder(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_OR_RUN", help="a model to sample, or a stored RUN.nc")
    ] = "tanh_zero",
    sampler: Annotated[
        str, typer.Option(help="replica_exchange or tempered_smc, with options")
    ] = "replica_exchange",
    beta: Annotated[
        str, typer.Option(help="inverse temperature of the coldest rung; n, wbic")
    ] = "1e4",
    data: DataOption = None,
    rows: RowsOption = None,
    minimum_loss: MinimumLoss = None,
    chains: Chains = 4,
    draws: Draws = 2000,
    warmup: WarmupOption = 500,
    seed: Seed = 0,
    reparameterise: Reparameterise = "none",
    out: Annotated[Path | None, typer.Option(help="file to write, ending in .nc")] = None,
    dtype: Dtype = "float64",
    strict: Strict = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat and the free energy on every rung from the prior to beta."""
    from sltprob import draws as schema
    from sltprob.diagnostics import diagnose
    from sltprob.ladders import rung_rows

    if model.endswith(".nc"):
        if out is not None:
            raise ValueError(f"--out goes with a model to sample; {model} is stored already")
        run = schema.load(model)
    else:
        if out is not None:
            new_file(out)
        configure(dtype)
        from sltprob.marginal_likelihood import sample_ladder

        run = sample_ladder(
            model,
            sampler,
            beta,
            data=data,
            minimum_loss=minimum_loss,
            reparameterise=None if reparameterise == "none" else reparameterise,
            rows=read_rows(rows),
            progress=not quiet,
            chains=chains,
            draws=draws,
            warmup=warmup,
            seed=seed,
        )
    table = rung_rows(run)
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
                "rungs": table,
                "verdict": verdict.status,
                "checks": [asdict(check) for check in verdict.checks],
            }
        )
    else:
        print_rungs(table, f"{run.attrs['model']}, {run.attrs['sampler']}")
        print_verdict(verdict)
    exit_unless_trusted([{"verdict": verdict.status}], strict)


def print_rungs(rows: list[dict[str, Any]], title: str) -> None:
    """Print one row for each rung."""
    known = any(row["exact_lambda_hat"] is not None for row in rows)
    beside = ("exact", "z") if known else ()
    table = []
    for row in rows:
        cells = [number(row["beta"], 3)]
        for name, error in (("lambda_hat", "mcse"), ("free_energy", "free_energy_mcse")):
            cells.append(f"{number(row[name])} ± {number(row[error], 2)}")
            if known:
                cells += [number(row[f"exact_{name}"]), _score(row[f"z_{name}"])]
        table.append(cells)
    print_rows(title, ("β", "λ̂ ± MCSE", *beside, "F ± MCSE", *beside), table)


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}"
