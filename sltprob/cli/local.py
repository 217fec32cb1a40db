"""`sltprob local`."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sltprob.cli._app import MEASURE, app
from sltprob.cli._options import (
    AsJson,
    Chains,
    Draws,
    OpenPage,
    Quiet,
    Seed,
    Strict,
    TargetMcse,
    WarmupOption,
)
from sltprob.cli._output import open_in_browser, print_json, print_verdict, say
from sltprob.cli._stop import goes_on
from sltprob.files import new_file

__all__ = ["local"]


@app.command(rich_help_panel=MEASURE)
def local(
    loss: Annotated[str, typer.Argument(metavar="FILE.py:LOSS", help="(params, batch) -> losses")],
    data: Annotated[Path, typer.Option(help="rows by name: npz, csv, parquet, netCDF or zarr")],
    params: Annotated[
        Path | None, typer.Option(help="trained parameters: .safetensors, .npz or Orbax")
    ] = None,
    checkpoints: Annotated[
        str | None, typer.Option(help="pattern of files, for λ̂ over training")
    ] = None,
    sampler: Annotated[str, typer.Option(help="such as sgld or sghmc")] = "sgld",
    nbeta: Annotated[str, typer.Option(help="nβ; wbic for n/log(n)")] = "wbic",
    gamma: Annotated[float, typer.Option(help="γ of the localisation")] = 1.0,
    mask: Annotated[
        str | None, typer.Option(help="comma-separated patterns of names that move")
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="over nβ and γ")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="rows of a minibatch; by default that of the sampler, or 128")
    ] = None,
    steps_per_draw: Annotated[
        int | None, typer.Option(help="steps between two kept draws; likewise, or 10")
    ] = None,
    step_size: Annotated[float | None, typer.Option(help="ε; by default found")] = None,
    chains: Chains = 4,
    draws: Draws = 1000,
    warmup: WarmupOption = 500,
    seed: Seed = 0,
    target_mcse: TargetMcse = None,
    out: Annotated[Path | None, typer.Option(help="page to write, ending in .html")] = None,
    quiet: Quiet = False,
    strict: Strict = False,
    open_page: OpenPage = False,
    as_json: AsJson = False,
) -> None:
    """Measure local lambda-hat of a trained network, over settings or over training."""
    from sltprob.cli._compilation import keep_compiled_code

    keep_compiled_code()
    from sltprob.program import load_program
    from sltprob.reading import read_data

    if (params is None) == (checkpoints is None):
        raise ValueError("give --params net.safetensors or --checkpoints 'ckpts/*.safetensors'")
    if sweep and checkpoints is not None:
        raise ValueError("--sweep is of one network; give --params")
    if out is not None:
        new_file(out)
    function = load_program(loss)
    rows = read_data(data)
    patterns = None if mask is None else [part.strip() for part in mask.split(",")]
    temperature: Any = nbeta if nbeta == "wbic" else _number(nbeta)
    options: dict[str, Any] = {
        "chains": chains,
        "draws": draws,
        "warmup": warmup,
        "seed": seed,
    }
    # What is given here only: a sampler may have its own, and hmc takes none of the first three.
    given = {
        "batch_size": batch_size,
        "steps_per_draw": steps_per_draw,
        "step_size": step_size,
        "target_mcse": target_mcse,
    }
    options |= {name: value for name, value in given.items() if value is not None}
    if checkpoints is not None:
        verdicts = _over_training(
            checkpoints,
            function,
            rows,
            sampler,
            temperature,
            gamma,
            patterns,
            options,
            out,
            as_json,
            quiet,
        )
    else:
        from sltprob.localising import local as around
        from sltprob.trajectories.weights import load_weights

        assert params is not None
        posterior = around(
            function, load_weights(params), rows, nbeta=temperature, gamma=gamma, mask=patterns
        )
        if sweep:
            verdicts = _over_settings(posterior, sampler, options, out, as_json, quiet)
        else:
            verdicts = _once(posterior, sampler, options, out, as_json, quiet)
    if open_page and out is not None:
        open_in_browser(out)
    if strict and any(verdict != "trusted" for verdict in verdicts):
        raise typer.Exit(1)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--nbeta {text}: it must be a number, or wbic") from None


def _once(
    posterior: Any, sampler: str, options: Any, out: Path | None, as_json: bool, quiet: bool
) -> list[str]:
    """Measure one network once."""
    from sltprob.diagnostics import diagnose
    from sltprob.estimation import estimate
    from sltprob.progress import shown
    from sltprob.sampling.run import sample
    from sltprob.trajectories.row import row_of

    with shown(not quiet) as bar:
        run = sample(posterior, sampler, progress=bar, **options)
    verdict = diagnose(run)
    if out is not None:
        from sltprob.report import write_report

        write_report([run], out, title=f"Local λ̂ of {posterior.name}", command="sltprob local …")
    if as_json:
        document = asdict(row_of(posterior.name, run, float(posterior.gamma)))
        document["failed_checks"] = [check.name for check in verdict.failed]
        print_json(document)
    else:
        say(str(posterior), str(estimate(run)))
        print_verdict(verdict)
    return [verdict.status]


def _said(quiet: bool) -> Any:
    """Give what says of each measurement, on standard error, that it is there."""
    if quiet:
        return None
    console = Console(stderr=True)

    def tell(row: Any) -> None:
        text = f"{row.name}: {row.lambda_hat:.4g} [{row.low:.4g}, {row.high:.4g}] {row.verdict}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return tell


def _over_settings(
    posterior: Any, sampler: str, options: Any, out: Path | None, as_json: bool, quiet: bool
) -> list[str]:
    """Sweep over nβ and γ."""
    from sltprob.trajectories.sweep import local_sweep

    found = local_sweep(posterior, sampler, progress=_said(quiet), **options)
    if out is not None:
        found.write(out)
    if as_json:
        rows = [asdict(row) for row in found.rows]
        plateau = [row.name for row in found.plateau]
        print_json({"rows": rows, "plateau": plateau, "recommendation": found.recommendation})
    else:
        say(str(found))
    return [found.chosen.verdict if found.chosen else "wrong"]


def _over_training(
    checkpoints: str,
    function: Any,
    rows: Any,
    sampler: str,
    nbeta: Any,
    gamma: float,
    patterns: Any,
    options: Any,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> list[str]:
    """Measure every checkpoint."""
    from sltprob.trajectories.trajectory import trajectory

    if out is not None:
        goes_on("finished checkpoints stay, and the same command goes on")
    found = trajectory(
        checkpoints,
        function,
        rows,
        sampler=sampler,
        nbeta=nbeta,
        gamma=gamma,
        masks=None if patterns is None else {",".join(patterns): patterns},
        folder=None if out is None else out.with_suffix(""),
        progress=_said(quiet),
        **options,
    )
    if out is not None:
        found.write(out)
    every = [row for each in found.rows.values() for row in each]
    if as_json:
        print_json(
            [{**asdict(row), "loss": None if math.isnan(row.loss) else row.loss} for row in every]
        )
    else:
        say(str(found))
    return [row.verdict for row in every]
