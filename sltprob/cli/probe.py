"""`sltprob probe`: checks of a stored run that need new draws."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sltprob.cli._app import JUDGE, app
from sltprob.cli._options import AsJson, DataOption, configure
from sltprob.cli._output import json_text, print_checks, print_json, say
from sltprob.files import new_file, write_text

if TYPE_CHECKING:
    from sltprob.probes.probe import Probe

__all__ = ["probe"]


@app.command(rich_help_panel=JUDGE)
def probe(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="RUN.nc, of sltprob run --out")],
    checks: Annotated[
        str, typer.Option(help="comma-separated: gradient, step, start")
    ] = "gradient,step,start",
    program: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:FUNCTION", help="the program, if the run is of your own"),
    ] = None,
    data: DataOption = None,
    draws: Annotated[int, typer.Option(help="draws per chain of each new run")] = 1000,
    warmup: Annotated[int, typer.Option(help="draws per chain before those")] = 500,
    seed: Annotated[int, typer.Option(help="the same seed gives the same new draws")] = 0,
    out: Annotated[Path | None, typer.Option(help="file to write, ending in .json")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 unless all pass")] = False,
    as_json: AsJson = False,
) -> None:
    """Test a stored run by new draws: half the step, hot and cold starts, mean gradient."""
    from sltprob import draws as schema

    stored = schema.load(path)
    configure(str(stored.attrs.get("dtype", "float64")))
    if out is not None:
        new_file(out)
    from sltprob.probes.probe import probe as probe_run
    from sltprob.progress import ProgressBar

    with ProgressBar() as bar:
        result = probe_run(
            stored,
            checks=[name.strip() for name in checks.split(",") if name.strip()],
            posterior=None if program is None else _posterior(program, data, stored),
            num_draws=draws,
            warmup=warmup,
            seed=seed,
            progress=bar,
        )
    document = _document(result)
    if out is not None:
        write_text(json_text(document), out)
    if as_json:
        print_json(document)
    else:
        title = f"{stored.attrs['model']}, {stored.attrs['sampler']}, β = {stored.attrs['beta']:g}"
        print_checks(result.checks, title)
        _print_rest(result)
    if strict and not result.passed:
        raise typer.Exit(1)


def _posterior(program: str, data: Path | None, stored: Any) -> Any:
    """Temper a program of the user's own as the run has it."""
    from sltprob.problem import problem

    if data is None:
        raise ValueError(f"--program {program} needs its data; write --data data.csv")
    attributes = stored.attrs
    if float(attributes.get("localization", 0.0)) > 0:
        raise ValueError(
            "the run is localised around a point that it does not tell; probe it from Python, "
            "sltprob.probe(draws, posterior=temper(...))"
        )
    posterior = problem(program, data, minimum_loss=float(attributes["minimum_loss"])).posterior
    return posterior.at(float(attributes["beta"]))


def _document(result: Probe) -> dict[str, Any]:
    """Give a probe as what JSON can say."""
    extrapolated = result.extrapolated
    return {
        "passed": result.passed,
        "checks": [asdict(check) for check in result.checks],
        "extrapolated": None if extrapolated is None else asdict(extrapolated),
        "costs": [asdict(cost) for cost in result.costs],
        "skipped": dict(result.skipped),
    }


def _print_rest(result: Probe) -> None:
    """Print the extrapolated value, what was left out, and what it took."""
    if result.extrapolated is not None:
        say(
            f"extrapolated to step size zero: λ̂ = {result.extrapolated} "
            f"(bias of order {result.extrapolated.order} in the step)"
        )
    say(*(f"{name}: skipped, {reason}" for name, reason in result.skipped))
    for cost in result.costs:
        say(f"{cost.probe}: {cost.gradients:.3g} gradients, {cost.seconds:.1f} s")
