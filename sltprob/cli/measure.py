"""`sltprob compare` and `sltprob run`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from sltprob.cli._app import MEASURE, app
from sltprob.cli._options import (
    AsJson,
    Chains,
    DataOption,
    Draws,
    Dtype,
    Init,
    MinimumLoss,
    ModelArgument,
    OpenPage,
    Quiet,
    Reparameterise,
    RowsOption,
    Seed,
    Strict,
    TargetMcse,
    WarmupOption,
    configure,
    exit_unless_trusted,
    names,
    read_init,
    read_rows,
)
from sltprob.cli._output import (
    open_in_browser,
    print_json,
    print_table,
    print_trace,
    print_verdict,
    say,
)
from sltprob.cli._stop import goes_on

__all__ = ["compare", "run"]


@app.command(rich_help_panel=MEASURE)
def compare(
    model: ModelArgument = "tanh_zero",
    samplers: Annotated[str, typer.Option(help="comma-separated")] = "sgld,mala,hmc",
    betas: Annotated[
        str, typer.Option(help="comma-separated; n the posterior, wbic for n/log(n)")
    ] = "1,1e2,1e4",
    data: DataOption = None,
    rows: RowsOption = None,
    minimum_loss: MinimumLoss = None,
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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat with several samplers, against the exact value."""
    configure(dtype)
    from sltprob.comparison import compare

    folder = out or Path("runs") / f"compare-{datetime.now():%Y%m%d-%H%M%S}"
    goes_on(
        f"finished runs stay, and 'sltprob report {folder / 'runs'}' shows them; another --out "
        "starts anew"
    )
    found = compare(
        model,
        names("--samplers", samplers, "sgld,mala,hmc"),
        names("--betas", betas, "1,1e2,1e4"),
        data=data,
        minimum_loss=minimum_loss,
        reparameterise=None if reparameterise == "none" else reparameterise,
        rows=read_rows(rows),
        chains=chains,
        draws=draws,
        warmup=warmup,
        seed=seed,
        init=read_init(init),
        target_mcse=target_mcse,
        out=folder,
        progress=not quiet,
    )
    if as_json:
        print_json(found.cells)
    else:
        for beta in dict.fromkeys(cell["beta"] for cell in found.cells):
            print_table([cell for cell in found.cells if cell["beta"] == beta], f"β = {beta:g}")
        if found.recommendation:
            say(found.recommendation)
        say(f"written: {folder / 'report.html'}, summary.csv, runs/")
    if open_page:
        open_in_browser(folder / "report.html")
    exit_unless_trusted(found.cells, strict)


@app.command(rich_help_panel=MEASURE)
def run(
    model: ModelArgument,
    sampler: Annotated[str, typer.Option(help="such as 'hmc[num_steps=64]'")] = "hmc",
    beta: Annotated[
        str, typer.Option(help="inverse temperature; n the posterior, wbic for n/log(n)")
    ] = "1e4",
    data: DataOption = None,
    rows: RowsOption = None,
    minimum_loss: MinimumLoss = None,
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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure lambda-hat once, and judge the measurement."""
    configure(dtype)
    from sltprob import draws as schema
    from sltprob import samplers as registry
    from sltprob.cell import summarise
    from sltprob.comparison import line_of, measure
    from sltprob.diagnostics import diagnose
    from sltprob.estimation import estimate
    from sltprob.files import new_file
    from sltprob.problem import problem
    from sltprob.progress import ProgressBar, shown

    kernel = registry.get(sampler)
    chosen = problem(
        model,
        data,
        minimum_loss=minimum_loss,
        reparameterise=None if reparameterise == "none" else reparameterise,
        rows=read_rows(rows),
    )
    value = chosen.beta(beta)
    posterior = chosen.at(value)
    if out is not None:
        new_file(out)
    with shown(not quiet) as bar:
        result = measure(
            posterior,
            kernel,
            exact=chosen.exact(value),
            progress=bar,
            chains=chains,
            draws=draws,
            warmup=warmup,
            seed=seed,
            init=read_init(init),
            target_mcse=target_mcse,
        )
        verdict = diagnose(result)
        cell = summarise(result, verdict)
        if isinstance(bar, ProgressBar):
            bar.tell(line_of(result, cell), cell["verdict"])
    if out is not None:
        schema.save(result, out)
    if beta == "wbic":
        cell["wbic"] = posterior.num_rows * float(result["sample_stats"]["loss"].mean())
    if as_json:
        print_json(cell)
    else:
        print_table([cell], f"{cell['model']}, β = {cell['beta']:g}")
        if beta == "wbic":
            say(f"WBIC = {cell['wbic']:.6g} (n times the mean loss, in nats)")
        if "energy_excess" in result["sample_stats"] and cell["lambda_hat"] is not None:
            say(f"averaged over the readout: {estimate(result, rao_blackwell=True)}")
        print_trace(result)
        print_verdict(verdict)
    exit_unless_trusted([cell], strict)
